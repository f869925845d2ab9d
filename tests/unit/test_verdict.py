"""The verdict on a worker, from what it last said and when."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from task_server.health import heartbeat as probe
from task_server.health.heartbeat import Heartbeat, Limits, Now, judge

NOW = Now(time=1_000_000.0, monotonic=5000.0, boot_id="boot")

READY = Heartbeat(
    state="ready",
    time=999_999.0,
    monotonic=4999.0,
    boot_id="boot",
    started=1000.0,
    pid=42,
    pid_start=7,
    name="w",
    node="w@host",
    pool="prefork",
    concurrency=4,
    connected=True,
    active=1,
    free=3,
    queues={"celery": 9},
)


def test_a_fresh_heartbeat_is_alive_and_ready() -> None:
    """
    A worker that is connected and said so a second ago is well.
    """
    assert (True, True) == (judge(READY, NOW).alive, judge(READY, NOW).ready)


@pytest.mark.parametrize(
    ("changes", "alive", "reason"),
    [
        ({"monotonic": 4960.0}, False, "has not turned for 40 s"),
        ({"monotonic": 4960.0, "pool": "gevent"}, False, "a task that computes"),
        ({"boot_id": "other"}, False, "before the machine started"),
        ({"backlog_since": 4930.0}, False, "takes nothing for 70 s although 9 messages wait"),
        ({"lost": 4, "active": 4, "free": 0}, False, "4 tasks hold its places and run nowhere"),
        ({"database": "all 20 are held", "database_since": 4000.0}, True, "all 20 are held"),
        (
            {"database": "all 20 are held", "database_since": 4000.0, "database_stuck": True},
            False,
            "all 20 are held, for 1000 s",
        ),
        (
            {"database": "all 20 are held", "database_since": 4900.0, "database_stuck": True},
            True,
            "all 20 are held",
        ),
        ({"lost": 1}, True, "1 of 4 places are held by tasks that run nowhere"),
        ({"state": "starting", "started": 4870.0}, False, "starting for 130 s"),
        ({"state": "starting", "started": 4950.0, "monotonic": 4950.0}, True, "is starting"),
        ({"connected": False, "connecting_since": 1000.0}, True, "does not answer for 4000 s"),
        (
            {"connected": False, "connecting_since": 4900.0, "monotonic": 4900.0},
            True,
            "does not answer",
        ),
        (
            {"connected": False, "connecting_since": 4800.0, "monotonic": 4800.0},
            False,
            "has not turned for 200 s",
        ),
        (
            {"state": "starting", "started": 0.0, "connected": False, "connecting_since": 100.0},
            True,
            "does not answer",
        ),
        (
            {"state": "draining", "until": 5100.0, "reason": "SIGTERM", "monotonic": 4000.0},
            True,
            "draining (SIGTERM)",
        ),
        ({"state": "draining", "until": 4970.0}, False, "should have stopped 30 s ago"),
    ],
)
def test_a_worker_that_is_not_ready_says_why(
    changes: dict[str, object], *, alive: bool, reason: str
) -> None:
    """
    A restart is asked for where it helps, and the reason is told.
    """
    verdict = judge(replace(READY, **changes), NOW)  # type: ignore[arg-type]

    assert (alive, False) == (verdict.alive, verdict.ready)
    assert reason in verdict.reason


def test_a_backlog_of_less_than_the_limit_is_no_reason() -> None:
    """
    Messages may wait for a moment although places are free.
    """
    assert judge(replace(READY, backlog_since=4950.0), NOW).ready


def test_a_backlog_behind_a_lost_connection_is_no_reason() -> None:
    """
    A worker without Redis cannot take anything, and a restart does not change that.
    """
    lost = replace(READY, backlog_since=4000.0, connected=False, connecting_since=4990.0)

    assert judge(lost, NOW).alive


def test_a_clock_that_was_set_does_not_matter() -> None:
    """
    The age of a heartbeat is taken from a clock that nobody sets.
    """
    assert judge(replace(READY, time=5.0), NOW).ready


def test_the_limits_can_be_set() -> None:
    """
    A stricter limit finds the same worker dead.
    """
    assert not judge(READY, NOW, Limits(stale=0.5)).alive


def test_a_process_that_is_gone_is_dead() -> None:
    """
    However fresh its last word is.
    """
    verdict = judge(READY, NOW, running=False)

    assert "its process 42 is gone" == verdict.reason


def test_a_pid_that_was_given_again_is_not_the_worker() -> None:
    """
    The start of the process tells it from a later one with its pid.
    """
    status = probe.process_status(os.getpid())
    assert status is not None
    _, start = status

    assert probe.is_running(os.getpid(), start)
    assert not probe.is_running(os.getpid(), start + 1)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """
    A heartbeat comes back from its file as it was, and leaves no other file.
    """
    probe.write(probe.path_of(tmp_path, "w"), READY)

    assert READY == probe.read(tmp_path, "w")
    assert ["w.json"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"state": "ready"}', "\udcff"])
def test_a_broken_heartbeat_is_dead_with_its_reason(tmp_path: Path, text: str) -> None:
    """
    A file that a full disk cut off names itself.
    """
    path = probe.path_of(tmp_path, "w")
    path.write_text(text, errors="surrogateescape")

    verdict = probe.check(tmp_path, "w")

    assert not verdict.alive
    assert str(path) in verdict.reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pid", "42"),
        ("pid", None),
        ("pid", [42]),
        ("pid", -1),
        ("pid", 0),
        ("pid", True),
        ("pid", 10**30),
        ("pid", 4.2),
        ("pid_start", "x"),
        ("monotonic", float("nan")),
        ("monotonic", float("inf")),
        ("monotonic", "now"),
        ("started", None),
        ("state", "asleep"),
        ("state", ["ready"]),
        ("queues", {"celery": "9"}),
        ("queues", [9]),
        ("free", -1),
        ("until", {}),
        ("connected", "yes"),
        ("backlog_since", "long"),
    ],
)
def test_a_heartbeat_that_no_worker_writes_is_dead_with_its_reason(
    tmp_path: Path, name: str, value: object
) -> None:
    """
    The value is named, and nothing is reckoned with it.
    """
    probe.path_of(tmp_path, "w").write_text(json.dumps(asdict(READY) | {name: value}))

    verdict = probe.check(tmp_path, "w")

    assert not verdict.alive
    assert f"is broken ({name} is " in verdict.reason


def test_a_missing_heartbeat_is_dead_with_its_reason(tmp_path: Path) -> None:
    """
    The reason names the file that was looked for.
    """
    verdict = probe.check(tmp_path, "w")

    assert not verdict.alive
    assert f"no heartbeat at {tmp_path}/w.json" in verdict.reason


def test_a_newer_worker_can_say_more(tmp_path: Path) -> None:
    """
    A value that this probe does not know is no error.
    """
    path = probe.path_of(tmp_path, "w")
    probe.write(path, READY)
    path.write_text(path.read_text().replace("{", '{"mood": "good", ', 1))

    assert READY == probe.read(tmp_path, "w")


def test_the_probe_imports_the_standard_library_alone() -> None:
    """
    A health check every few seconds must cost next to nothing.
    """
    program = (
        "import sys; before = set(sys.modules); "
        "import task_server.health.heartbeat; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    tops = {name.split(".")[0] for name in loaded}
    assert set() == tops & {"celery", "kombu", "redis", "django", "gevent", "click", "rich"}
