"""Several beats of one project: one sends, whatever happens to it, and nothing is sent twice."""

import itertools
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from task_server.transport.store.rights import RIGHTS
from tests.support.beat import Beat, entries_sent, project
from tests.support.redis import Redis
from tests.support.wait import until

#: After which the lock expires, in seconds.
EXPIRY = 2.0


@contextmanager
def recorded(server: Redis) -> Iterator[list[float]]:
    """
    Have a list of when each run of `tick` was recorded, in seconds by the server's clock.

    The script that compares the lock records the run, before it is sent: what is in the
    hash after each of its calls is one run.
    """
    runs: list[float] = []
    client = redis.Redis.from_url(server.url, socket_timeout=None)
    started, ended = threading.Event(), threading.Event()

    def watch() -> None:
        with client.monitor() as monitor:
            started.set()
            while not ended.is_set():
                words = monitor.next_command()["command"].split()
                if words[0] == "HSET" and words[1].endswith(":runs") and words[2] == "tick":
                    runs.append(int(words[3]) / 1e6)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    assert started.wait(60)
    yield runs
    ended.set()
    # It waits for a command.
    server.client.ping()
    thread.join(60)
    client.close()


def test_the_second_waits_and_says_for_whom(code: Path, server: Redis) -> None:
    """
    Both are ready to their health checks; the one that is stopped gives the lock up at once.
    """
    with Beat(code, server.url, lock_seconds=60) as one:
        one.sends()
        with Beat(code, server.url, "two", lock_seconds=60) as two:
            (line,) = two.says("beat: waits: ")
            assert f"pid {one.process.pid} on " in line
            assert "has sent since 20" in line
            code_, said = two.health("--ready")
            assert (0, True) == (code_, "standby: pid" in said)
            assert "holder" in one.health("--ready")[1]

            assert 0 == one.stop()
            two.sends()
            assert 0 == two.stop()


def test_one_that_waits_ends_at_once(code: Path, server: Redis) -> None:
    """
    It has nothing to save, and the lock is not its own.
    """
    with Beat(code, server.url) as one, Beat(code, server.url, "two") as two:
        holder = one if until(lambda: _holder(server)) == one.process.pid else two
        (other,) = {one, two} - {holder}
        other.says("beat: waits: ")
        assert 0 == other.stop()
        assert holder.process.pid == _holder(server)


def _holder(server: Redis) -> int:
    found = server.client.hget("unacked.beat:periodic", "pid")
    return int(found or 0)


@pytest.mark.parametrize(
    ("shared", "kills"),
    [
        pytest.param(False, 2, id="hosts"),
        pytest.param(False, 4, id="hosts, four times", marks=pytest.mark.slow),
        pytest.param(True, 4, id="one folder, four times", marks=pytest.mark.slow),
    ],
)
def test_beats_that_are_killed_in_turns_send_each_time_once(
    code: Path, server: Redis, tmp_path: Path, *, shared: bool, kills: int
) -> None:
    """
    No two runs are recorded within a period, and no more messages are sent than runs recorded.
    """
    settings = {"folder": tmp_path / "schedule"} if shared else {}
    with recorded(server) as runs, ExitStack() as stack:

        def start(name: str) -> Beat:
            beat = Beat(code, server.url, name, lock_seconds=EXPIRY, settings=settings)
            return stack.enter_context(beat)

        def more(count: int) -> None:
            goal = len(runs) + count
            until(lambda: len(runs) >= goal)

        holder = start("0").sends()
        for number in range(1, kills + 1):
            waiting = start(str(number))
            waiting.says("beat: waits: ")
            more(2)
            holder.kill()
            waiting.sends()
            more(2)
            holder = waiting
        assert 0 == holder.stop()
    gaps = [later - earlier for earlier, later in itertools.pairwise(runs)]
    sent = entries_sent(server.client)

    # Celery looks ten milliseconds early.
    assert min(gaps) >= 1 - 0.02
    # Each kill may fall between the record and the send.
    assert len(runs) - kills <= sent <= len(runs)
    # A busy machine has half a minute on top.
    assert max(gaps) <= EXPIRY + 1 + 30


def test_one_that_was_stopped_sends_nothing_once_another_does(code: Path, server: Redis) -> None:
    """
    It finds the lock expired, says so, and waits for the one that took over.
    """
    with recorded(server) as runs, Beat(code, server.url) as one, ExitStack() as stack:
        one.sends()
        two = stack.enter_context(Beat(code, server.url, "two"))
        two.says("beat: waits: ")
        one.send(signal.SIGSTOP)
        two.sends()
        until(lambda: entries_sent(server.client) >= 3)

        one.send(signal.SIGCONT)
        one.says("the lock expired, since this process was stopped or Redis was away")
        (line,) = one.says("beat: waits: ")
        assert f"pid {two.process.pid} on " in line
        assert "standby" in one.health("--ready")[1]
        # It takes over again in turn.
        two.kill()
        one.says("beat: sends now", 2)
        assert 0 == one.stop()
    gaps = [later - earlier for earlier, later in itertools.pairwise(runs)]

    assert min(gaps) >= 1 - 0.02


def test_a_redis_that_is_away_loses_nothing(code: Path, server: Redis) -> None:
    """
    Alive, not ready, one line; what was due is sent when it is back, and so is what follows.
    """
    with Beat(code, server.url) as one:
        one.sends()
        until(lambda: entries_sent(server.client))
        server.kill()
        one.says("nothing listens at .*; nothing is sent meanwhile")
        alive, ready = one.health(), one.health("--ready")
        assert (0, 1) == (alive[0], ready[0])
        assert "a restart does not help" in ready[1]

        server.start()
        until(lambda: entries_sent(server.client) >= 2)
        until(lambda: one.health("--ready")[0] == 0)
        assert 0 == one.stop()
    assert 1 == one.output().count("nothing is sent meanwhile")


def test_a_redis_that_forgets_all_brings_no_second_run(tmp_path: Path, server: Redis) -> None:
    """
    What was sent shortly before is recorded again by the one that sent it, whoever sends now.
    """
    code = project(
        tmp_path / "code",
        """
        app.conf.beat_schedule = {
            "hourly": {"task": "periodic.tick", "schedule": 3600, "options": {"queue": "hourly"}},
            "tick": {"task": "periodic.tick", "schedule": 1},
        }
        """,
    )
    runs = "unacked.beat:periodic:runs"
    server.client.hset(runs, "hourly", 1)

    with Beat(code, server.url) as one:
        one.sends()
        with Beat(code, server.url, "two") as two:
            two.says("beat: waits: ")
            until(lambda: entries_sent(server.client, "hourly"))
            for _ in range(2):
                server.kill()
                server.start()
                assert not server.client.exists("hourly")
                until(lambda: entries_sent(server.client) >= 2)
                assert server.client.hget(runs, "hourly")
                assert 0 == entries_sent(server.client, "hourly")
            # One of them only sends.
            assert {0} == {one.health("--ready")[0], two.health("--ready")[0]}
            said = one.health()[1] + two.health()[1]
            assert (1, 1) == (said.count("holder:"), said.count("standby:"))


def test_an_unlimited_schedule_is_not_kept_by_a_limited_user(code: Path, server: Redis) -> None:
    """
    The rights of a worker are enough for beat; without one of them nothing is sent, and it is said.
    """
    rules = ("on", ">secret", "~celery*", "~unacked*", "~_kombu*", "~*.celery.pidbox*", "&*")
    commands = {f"+{right.command.lower().replace(' ', '|')}" for right in RIGHTS}
    client = server.client
    client.execute_command("ACL", "SETUSER", "beat", "reset", *rules, *commands, "+ping", "+info")
    url = f"redis://beat:secret@127.0.0.1:{server.port}/0"

    with Beat(code, url) as one:
        one.sends()
        until(lambda: entries_sent(client))
        assert 0 == one.stop()
    client.execute_command("ACL", "SETUSER", "beat", "-hset")
    count = entries_sent(client)
    with Beat(code, url) as two:
        two.says("no permissions.*; nothing is sent meanwhile")
        assert (0, 1) == (two.health()[0], two.health("--ready")[0])
    assert count == entries_sent(client)


@pytest.mark.parametrize("kind", ["set", pytest.param("string", marks=pytest.mark.slow)])
def test_a_key_of_another_type_is_said(code: Path, server: Redis, kind: str) -> None:
    """
    Nothing is sent, and nothing is lost, until somebody removes it.
    """
    key = "unacked.beat:periodic"
    server.client.sadd(key, "x") if kind == "set" else server.client.set(key, "x")

    with Beat(code, server.url) as one:
        one.says("WRONGTYPE")
        assert (0, 1) == (one.health()[0], one.health("--ready")[0])
        server.client.delete(key)
        one.sends()
        until(lambda: entries_sent(server.client))
        assert 0 == one.stop()
