"""What is said of a worker that is silent, has stopped processes, or is not ready."""

from typing import Any

from task_server.monitor import Snapshot, StoppedChild, Worker
from task_server.monitor.stuck import over_limit
from task_server.monitor.troubles import Limits, Trouble, troubles
from tests.support.snapshots import AT, message, snapshot, worker


def wrong(one: Worker, **fields: Any) -> Trouble:
    """Return the only thing that is wrong with a worker."""
    found: Snapshot = snapshot(workers=(one,), **fields)
    (trouble,) = troubles(found, Limits())
    return trouble


def silent(**values: Any) -> Worker:
    """Return a worker that has been silent for 20 seconds."""
    return worker(host="a", state="silent", since=AT - 20, seen=AT - 20, **values)


def test_each_task_of_a_silent_worker_is_named() -> None:
    """
    With its id, for how long it has run, and what is usual; the longest first, three of them.
    """
    held = tuple(message(tag, fetched_at=AT - 25) for tag in ("1", "2", "3", "4", "5"))
    one = silent(in_flight=held, started={"2": AT - 24, "4": AT - 90})
    found = wrong(one, usual={"proj.work": 0.25})

    assert "error" == found.level
    assert ": proj.work[4] (for 90 s, usual 0.25 s), proj.work[2] (for 24 s, " in found.message
    assert found.message.endswith("proj.work[1] (for 25 s, usual 0.25 s), 2 more")
    assert "task-server health prefork on a says whether it is stopped, hangs" in found.repair


def test_what_a_silent_worker_has_goes_elsewhere_or_waits_for_somebody() -> None:
    """
    While its lease runs, when it is over, when the process lives, and when it has nothing.
    """
    waits = silent(in_flight=(message(renewed_at=AT - 100),))
    lives = silent(in_flight=(message(),), renews=True)

    assert wrong(silent(in_flight=(message(),))).repair.startswith("what it has runs elsewhere")
    assert wrong(waits).repair.startswith("start a worker of this broker")
    assert wrong(lives).repair.startswith("restart it: until then nobody else gets what it has")
    assert ", and its process lives: something blocks its loop; 1 messages" in wrong(lives).message
    assert ("warning", True) == (
        wrong(silent()).level,
        wrong(silent()).repair.endswith("it is forgotten after a day"),
    )


def test_a_stopped_process_is_named_with_what_it_runs() -> None:
    """
    And its task is not said to run for long as well.
    """
    values = {"host": "a", "in_flight": (message(),), "started": {"t": AT - 7200}}
    found = wrong(worker(stopped=(StoppedChild(pid=8, since=AT - 9, tag="t"),), **values))
    idle = wrong(worker(host="a", stopped=(StoppedChild(pid=8, since=AT - 9),)))

    assert found.message.startswith("pool child 8 is stopped since ")
    assert found.message.endswith("as by SIGSTOP, with proj.work[t]")
    assert "on a: kill -CONT 8 lets it go on; kill -9 8 ends it" in found.repair
    assert idle.message.endswith("as by SIGSTOP")


def test_why_a_worker_is_not_ready() -> None:
    """
    As its own health check says it.
    """
    found = wrong(worker(host="a", unready="PostgreSQL does not answer"))

    assert ("error", "not ready: PostgreSQL does not answer") == (found.level, found.message)
    assert "on a: task-server health prefork" in found.repair


def test_a_task_in_a_process_of_prefork_names_that_process() -> None:
    """
    To it SIGUSR1 is a soft time limit: somebody looks from outside.
    """
    values = {"host": "a", "pid": 7, "in_flight": (message(),), "started": {"t": AT - 700}}
    child = wrong(worker(pids={"t": 8}, limits={"t": 60.0}, **values))
    green = wrong(worker(limits={"t": 60.0}, **values))

    assert "it hangs in C code: py-spy dump --pid 8 on a shows it; kill -9 8 ends" in child.repair
    assert "SIGUSR1" not in child.repair
    assert "SIGUSR1 to pid 7 on a logs all stacks; restart that worker" in green.repair


def test_what_runs_beyond_its_limit_is_counted() -> None:
    """
    Ten seconds later, of those that run; not of a worker that is silent.
    """
    started = {"1": AT - 69, "2": AT - 71, "3": AT - 999}
    values: dict[str, Any] = {"started": started, "limits": {"1": 60.0, "2": 60.0, "4": 1.0}}

    assert ["2"] == over_limit(worker(**values), AT)
    assert [] == over_limit(worker(state="silent", **values), AT)
