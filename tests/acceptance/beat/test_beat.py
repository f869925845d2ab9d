"""`task-server beat`: what it sends, how it ends, and what it says of a schedule that is wrong."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.beat import Beat, entries_sent, project
from tests.support.redis import Redis
from tests.support.wait import until


def test_it_sends_saves_and_goes_on(code: Path, server: Redis) -> None:
    """
    SIGTERM ends it with 0 and the schedule saved; the next one says what was missed, sends it once.
    """
    with Beat(code, server.url) as one:
        one.sends()
        until(lambda: entries_sent(server.client) >= 2)
        assert (0, True) == (one.health("--ready")[0], "ready: holder: " in one.health()[1])
        assert 0 == one.stop()
        assert "its schedule is saved" in one.output()
        assert 1 == one.health()[0]
    assert any(one.folder.glob("celerybeat-schedule.periodic*"))
    assert [] == server.client.keys("unacked.beat:periodic")
    # Without what is in Redis, the file alone.
    server.client.flushall()
    resting = time.time()
    until(lambda: time.time() - resting > 2)

    with Beat(code, server.url) as two:
        (line,) = two.sends().says("'tick' was due .* while no beat ran, first at")
        assert "it is sent once, now" in line
        until(lambda: entries_sent(server.client) >= 2)
        assert 0 == two.stop()


def test_a_new_container_knows_the_runs_of_the_one_before(tmp_path: Path, server: Redis) -> None:
    """
    Without the file of the other, what was due meanwhile is sent, and what was sent is not.
    """
    code = project(
        tmp_path / "code",
        """
        app.conf.beat_schedule = {
            "late": {"task": "periodic.tick", "schedule": 3600, "options": {"queue": "late"}},
            "early": {"task": "periodic.tick", "schedule": 3600, "options": {"queue": "early"}},
            "tick": {"task": "periodic.tick", "schedule": 1},
        }
        """,
    )
    now = time.time()
    runs = {"late": int((now - 9000) * 1e6), "early": int((now - 60) * 1e6)}
    server.client.hset("unacked.beat:periodic:runs", mapping=runs)

    with Beat(code, server.url) as one:
        (line,) = one.sends().says("'late' was due 2 times while no beat ran")
        assert "it is sent once, now" in line
        until(lambda: entries_sent(server.client) >= 2)
        one.stop()

    assert (1, 0) == (
        entries_sent(server.client, "late"),
        entries_sent(server.client, "early"),
    )


def test_an_entry_that_is_wrong_does_not_stop_the_others(tmp_path: Path, server: Redis) -> None:
    """
    Each is named, with what is wrong with it.
    """
    code = project(
        tmp_path / "code",
        """
        app.conf.beat_schedule = {
            "no task": {"schedule": 1},
            "no schedule": {"task": "periodic.tick"},
            "words": {"task": "periodic.tick", "schedule": "often"},
            "number": 5,
            "misspelt": {"task": "periodic.tick", "schedule": 1, "option": {}},
            "lambda": {"task": "periodic.tick", "schedule": 1, "args": [lambda: 1]},
            "elsewhere": {"task": "other.tick", "schedule": 1, "options": {"queue": "other"}},
            "tick": {"task": "periodic.tick", "schedule": 1},
        }
        """,
    )

    with Beat(code, server.url) as one:
        one.sends()
        until(lambda: entries_sent(server.client) and entries_sent(server.client, "other"))
        assert 0 == one.stop()

    for words in (
        "'no task' is left out: it names no task",
        "'no schedule' is left out: it has no schedule",
        "'words' is left out: its schedule 'often' is neither a number of seconds nor",
        "'number' is left out: it is no dictionary but of the type int",
        "'misspelt' is left out: TypeError:",
        "'lambda' is left out:",
        "'elsewhere' names the task 'other.tick', which this project does not register",
    ):
        assert words in one.output()


@pytest.mark.parametrize(
    "content",
    [
        b"no database",
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in (b"", b"\x00" * 4096, b"SQLite format 3\0x")
        ),
    ],
)
def test_a_schedule_file_that_cannot_be_read_is_set_aside(
    code: Path, server: Redis, content: bytes
) -> None:
    """
    It is kept under another name, and a new one begins.
    """
    folder = code.parent / "one"
    folder.mkdir(mode=0o700)
    for suffix in ("", ".db", ".dat", ".dir", ".bak"):
        (folder / f"celerybeat-schedule.periodic{suffix}").write_bytes(content)

    with Beat(code, server.url) as one:
        one.sends()
        until(lambda: entries_sent(server.client))
        assert 0 == one.stop()
        assert "Traceback" not in one.output()
        if "is set aside" in one.output():
            assert any(folder.glob("celerybeat-schedule.periodic.unreadable-*"))


def test_a_pickle_of_a_class_that_is_gone_is_set_aside(code: Path, server: Redis) -> None:
    """
    A file whose entries are of a module that the project had once is no crash.
    """
    with Beat(code, server.url) as one:
        one.sends().stop()
    writing = f"""
import shelve, sys
sys.modules["gone"] = sys.modules["__main__"]
class Gone:
    __module__ = "gone"
with shelve.open({str(one.folder / "celerybeat-schedule.periodic")!r}) as store:
    store["entries"] = {{"tick": Gone()}}
"""
    subprocess.run([sys.executable, "-c", writing], check=True)

    with Beat(code, server.url) as two:
        (line,) = two.sends().says("is set aside as celerybeat-schedule.periodic.unreadable-")
        assert "No module named 'gone'" in line
        until(lambda: entries_sent(server.client))
        assert 0 == two.stop()


def test_a_broker_that_is_no_redis_has_no_lock(tmp_path: Path) -> None:
    """
    It is said, and the tasks are sent.
    """
    messages = tmp_path / "messages"
    messages.mkdir()
    code = project(
        tmp_path / "code",
        f"""
        app.conf.broker_transport_options = {{
            "data_folder_in": {str(messages)!r}, "data_folder_out": {str(messages)!r},
            "control_folder": {str(messages)!r},
        }}
        app.conf.beat_schedule = {{"tick": {{"task": "periodic.tick", "schedule": 1.0}}}}
        """,
    )

    with Beat(code, "filesystem://") as one:
        one.sends().says("the broker is no Redis: no lock keeps a second beat from sending")
        until(lambda: len(list(messages.glob("*.celery.msg"))) >= 2)
        assert "without a lock" in one.health("--ready")[1]
        assert 0 == one.stop()


def test_the_prefix_of_all_keys_counts_for_the_lock(tmp_path: Path, server: Redis) -> None:
    """
    Two projects with prefixes do not keep each other from sending; nor do two without.
    """
    code = project(
        tmp_path / "code",
        """
        app.conf.broker_transport_options = {"global_keyprefix": "cl:"}
        app.conf.beat_schedule = {"tick": {"task": "periodic.tick", "schedule": 1.0}}
        """,
    )
    project(code, name="second")

    with Beat(code, server.url) as one, Beat(code, server.url, "two", app="second") as two:
        one.sends()
        two.sends()
        until(lambda: entries_sent(server.client, "cl:celery"))
        keys = {key.decode() for key in server.client.keys("*beat:*") if b"runs" not in key}
        assert {"cl:unacked.beat:periodic", "unacked.beat:second"} == keys


@pytest.mark.parametrize(
    ("code_text", "broker", "exit_code", "words"),
    [
        ("raise RuntimeError('no')", "redis://127.0.0.1:1/0", 78, "periodic.py:"),
        (
            "app.conf.beat_scheduler = 'no.such:Thing'",
            "redis://127.0.0.1:1/0",
            78,
            "'no.such:Thing'",
        ),
        ("", "redis://127.0.0.1:port/0", 78, "broker_url"),
        ("", "nothing://here", 78, "broker_url"),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, code_text: str, broker: str, exit_code: int, words: str
) -> None:
    """
    The file and the line of the project, or the setting; and the code that keeps a unit down.
    """
    code = project(tmp_path / "code", code_text)

    with Beat(code, broker) as one:
        assert exit_code == one.wait()
        assert words in one.output()
        assert "Traceback" not in one.output()


def test_an_import_that_hangs_ends(tmp_path: Path) -> None:
    """
    A project that waits for a server of its own is named, with its line: exit 69.
    """
    code = project(tmp_path / "code", "import threading; threading.Event().wait()")

    with Beat(code, "redis://127.0.0.1:1/0", environ={"TASK_SERVER_IMPORT_SECONDS": "1"}) as one:
        assert 69 == one.wait()
        assert "periodic.py:" in one.output()


def test_a_password_that_is_wrong_ends_it(code: Path, server: Redis) -> None:
    """
    A restart does not help against that: 78, and the URL without the password.
    """
    server.client.config_set("requirepass", "secret")

    with Beat(code, f"redis://:hunter2@127.0.0.1:{server.port}/0") as one:
        assert 78 == one.wait()
        assert "refuses the user or the password" in one.output()
        assert "hunter2" not in one.output()
    server.client.execute_command("AUTH", "secret")
    server.client.config_set("requirepass", "")


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_redis_that_hangs_does_not_keep_it_from_ending(
    code: Path, server: Redis, number: signal.Signals
) -> None:
    """
    It saves the schedule and ends with 0.
    """
    with Beat(code, server.url) as one:
        one.sends()
        server.signal(signal.SIGSTOP)
        one.says("no answer from|cannot be used")
        assert (0, 1) == (one.health()[0], one.health("--ready")[0])
        one.send(number)
        assert 0 == one.wait()
        server.signal(signal.SIGCONT)
