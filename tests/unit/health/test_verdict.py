"""The verdict on a worker, from its last heartbeat and the age of that."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from task_server.health import heartbeat
from task_server.health.heartbeat import Heartbeat
from task_server.health.process import is_running, process_status, waited
from task_server.health.verdict import Now, check, evaluate
from task_server.launch.timing import Timing

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
    A connected worker with a heartbeat of a second ago is well.
    """
    assert (True, True) == (evaluate(READY, NOW).alive, evaluate(READY, NOW).ready)


@pytest.mark.parametrize(
    ("changes", "alive", "reason"),
    [
        ({"monotonic": 4960.0}, False, "event loop blocked for 40 s"),
        ({"monotonic": 4960.0, "pool": "gevent"}, False, "a task that computes"),
        ({"boot_id": "other"}, False, "before the last reboot"),
        ({"backlog_since": 4930.0}, False, "idle for 70 s with 9 messages queued"),
        ({"lost": 4, "active": 4, "free": 0}, False, "4 tasks occupy slots but run nowhere"),
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
        (
            {"oldest_task": "a.b[7]", "oldest_since": 4000.0, "dead_seconds": 900.0},
            False,
            "a.b[7] has run for 1000 s (task_dead_seconds is 900)",
        ),
        (
            {"oldest_task": "a.b[7]", "oldest_since": 4000.0, "unready_seconds": 900.0},
            True,
            "a.b[7] has run for 1000 s (task_unready_seconds is 900)",
        ),
        (
            {
                "monotonic": 4960.0,
                "pool": "gevent",
                "oldest_task": "a.b[7]",
                "oldest_since": 4950.0,
            },
            False,
            "1 running (a.b[7], for 50 s)",
        ),
        (
            {"stopped": "all are stopped", "stopped_since": 4990.0, "stopped_children": 4},
            True,
            "all are stopped, for 10 s",
        ),
        ({"lost": 1}, True, "1 of 4 slots are occupied by tasks that run nowhere"),
        ({"state": "starting", "started": 4870.0}, False, "starting for 130 s"),
        ({"state": "starting", "started": 4950.0, "monotonic": 4950.0}, True, "starting"),
        ({"connected": False, "connecting_since": 1000.0}, True, "has not answered for 4000 s"),
        (
            {"connected": False, "connecting_since": 4900.0, "monotonic": 4900.0},
            True,
            "has not answered",
        ),
        (
            {"connected": False, "connecting_since": 4800.0, "monotonic": 4800.0},
            False,
            "event loop blocked for 200 s",
        ),
        (
            {"state": "starting", "started": 0.0, "connected": False, "connecting_since": 100.0},
            True,
            "has not answered",
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
    It counts as dead only where a restart helps, and the reason is given.
    """
    verdict = evaluate(READY._replace(**changes), NOW)  # type: ignore[arg-type]

    assert (alive, False) == (verdict.alive, verdict.ready)
    assert reason in verdict.reason


def test_a_backlog_below_the_threshold_is_no_reason() -> None:
    """
    Messages may wait for a moment although slots are free.
    """
    assert evaluate(READY._replace(backlog_since=4950.0), NOW).ready


def test_a_backlog_behind_a_lost_connection_is_no_reason() -> None:
    """
    A worker without Redis cannot take anything, and a restart does not change that.
    """
    lost = READY._replace(backlog_since=4000.0, connected=False, connecting_since=4990.0)

    assert evaluate(lost, NOW).alive


def test_a_clock_that_was_set_does_not_matter() -> None:
    """
    The age of a heartbeat is measured on the monotonic clock.
    """
    assert evaluate(READY._replace(time=5.0), NOW).ready


def test_the_thresholds_can_be_set() -> None:
    """
    A stricter threshold finds the same worker dead.
    """
    assert not evaluate(READY, NOW, Timing(stale=0.5)).alive


def test_a_process_that_is_gone_is_dead() -> None:
    """
    However fresh its heartbeat is.
    """
    verdict = evaluate(READY, NOW, running=False)

    assert "process 42 has exited" == verdict.reason


def test_a_reused_pid_is_not_the_worker() -> None:
    """
    A later process with the same pid has another start.
    """
    status = process_status(os.getpid())
    assert status is not None
    _, start = status

    assert is_running(os.getpid(), start)
    assert not is_running(os.getpid(), start + 1)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """
    A heartbeat is read as it was written, and no other file remains.
    """
    heartbeat.write(heartbeat.path_of(tmp_path, "w"), READY)

    assert READY == heartbeat.read(tmp_path, "w")
    assert ["w.json"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"state": "ready"}', "\udcff"])
def test_a_broken_heartbeat_is_dead_with_its_reason(tmp_path: Path, text: str) -> None:
    """
    The reason names the file, which a full disk may have cut off.
    """
    path = heartbeat.path_of(tmp_path, "w")
    path.write_text(text, errors="surrogateescape")

    verdict = check(tmp_path, "w")

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
        ("oldest_task", 7),
        ("oldest_since", "long"),
        ("stopped_children", -1),
        ("dead_seconds", None),
    ],
)
def test_a_heartbeat_that_no_worker_writes_is_dead_with_its_reason(
    tmp_path: Path, name: str, value: object
) -> None:
    """
    The reason names the value, which is not used.
    """
    heartbeat.path_of(tmp_path, "w").write_text(json.dumps(READY._asdict() | {name: value}))

    verdict = check(tmp_path, "w")

    assert not verdict.alive
    assert f"is invalid ({name} is " in verdict.reason


def test_what_runs_for_longest_is_named() -> None:
    """
    Also where nothing is wrong; a stopped child is named beside it while others work.
    """
    busy = READY._replace(active=2, free=2, oldest_task="a.b[7]", oldest_since=4000.0)
    stopped = busy._replace(stopped="child 9 is stopped", stopped_since=4960.0, stopped_children=1)

    assert "2 running (the longest, a.b[7], for 1000 s), 2 of 4 slots free" == (
        evaluate(busy, NOW).reason
    )
    assert evaluate(stopped, NOW).ready
    assert evaluate(stopped, NOW).reason.endswith("; child 9 is stopped, for 40 s")


def test_a_stopped_process_is_told_from_a_blocked_loop() -> None:
    """
    At once it is not ready, and dead when its heartbeat is as old as a blocked loop's.
    """
    fresh = evaluate(READY, NOW, stopped=True)
    old = evaluate(READY._replace(monotonic=4960.0), NOW, stopped=True)

    assert (True, False) == (fresh.alive, fresh.ready)
    assert "process 42 is stopped, as by SIGSTOP (kill -CONT 42 lets it go on)" == fresh.reason
    assert not old.alive
    assert old.reason.endswith("lets it go on) for 40 s")


def test_a_missing_heartbeat_is_dead_with_its_reason(tmp_path: Path) -> None:
    """
    The reason names the missing file.
    """
    verdict = check(tmp_path, "w")

    assert not verdict.alive
    assert f"no heartbeat at {tmp_path}/w.json" in verdict.reason


def test_a_newer_worker_may_write_more_fields(tmp_path: Path) -> None:
    """
    An unknown field is no error.
    """
    path = heartbeat.path_of(tmp_path, "w")
    heartbeat.write(path, READY)
    path.write_text(path.read_text().replace("{", '{"mood": "good", ', 1))

    assert READY == heartbeat.read(tmp_path, "w")


def test_the_verdict_imports_only_the_standard_library() -> None:
    """
    A health check every few seconds must cost next to nothing.
    """
    program = (
        "import sys; before = set(sys.modules); "
        "import task_server.health.verdict; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    tops = {name.split(".")[0] for name in loaded}
    assert set() == tops & {"celery", "kombu", "redis", "django", "gevent", "click", "rich"}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "event loop blocked for 40 s"),
        ({"state": "starting", "started": 4860.0}, "event loop blocked for 140 s"),
        ({"state": "draining", "until": 4960.0}, "should have stopped 40 s ago"),
    ],
)
def test_the_time_without_a_processor_does_not_count(state: dict[str, object], words: str) -> None:
    """
    It could have run all the while, and had no processor: it is throttled, and does not hang.
    """
    age = 140.0 if state.get("state") == "starting" else 40.0
    old = READY._replace(monotonic=5000.0 - age, waited=1000.0, **state)  # type: ignore[arg-type]

    hung = evaluate(old, NOW._replace(waited=1000.5))
    throttled = evaluate(old, NOW._replace(waited=1035.0))
    unknown = evaluate(old, NOW), evaluate(old._replace(waited=None), NOW._replace(waited=1035.0))

    assert [False, True, False, False] == [one.alive for one in (hung, throttled, *unknown)]
    assert {words} == {one.reason for one in unknown}


def test_a_start_takes_the_time_that_it_has_a_processor() -> None:
    """
    The import of a large project takes ten times as long with a tenth of a processor.
    """
    starting = READY._replace(state="starting", started=4800.0, waited=150.0)

    slow, throttled = (evaluate(starting, NOW._replace(waited=one)) for one in (0.0, 160.0))

    assert (False, True) == (slow.alive, throttled.alive)
    assert "has been starting for 200 s" == slow.reason


def test_the_kernel_counts_the_wait_for_a_processor() -> None:
    """
    Of the main thread, which the event loop is in; of no process there is no count.
    """
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()

    assert 0.0 <= (waited(os.getpid()) or 0.0) < time.monotonic()
    assert waited(gone.pid) is None
