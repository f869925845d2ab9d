"""What is wrong, by what is usual, by limits, and by what fails."""

from typing import Any

import pytest

from task_server.monitor import Age, Broker, Counts, Finished, Queue, Rate, Snapshot, Worker
from task_server.monitor.counts import TaskStatistics
from task_server.monitor.model import State
from task_server.monitor.troubles import Limits, Trouble, troubles
from task_server.transport.store.in_flight import InFlight
from task_server.transport.store.stops import Stop

NOW = 1e9

HELD = InFlight("tag", "proj.work", "id", "q", "w@h", 7, "r", NOW - 700, NOW, 30)


def found(**fields: Any) -> Snapshot:
    """Return a snapshot with these fields."""
    return Snapshot(**{"at": NOW, "broker": Broker(), "troubles": {}, **fields})


def waiting(seconds: float, usual: float | None = None, **fields: Any) -> Snapshot:
    """Return one whose queue has waited for *seconds*."""
    age = Age(seconds=seconds, is_exact=True)
    queue = Queue(name="q", waiting={0: 5}, oldest=age, usual=usual, consumers=("w@h",), **fields)
    return found(queues=(queue,))


def running(seconds: float, limit: float | None = None, usual: float | None = None) -> Snapshot:
    """Return one whose worker has run a task for *seconds*."""
    worker = Worker(
        node="w@h",
        run="r",
        host="h",
        pid=7,
        state="ready",
        in_flight=(HELD,),
        started={"tag": NOW - seconds},
        limits={} if limit is None else {"tag": limit},
    )
    return found(workers=(worker,), usual={} if usual is None else {"proj.work": usual})


def one(snapshot: Snapshot, **limits: float) -> Trouble | None:
    """Return the only trouble of *snapshot*, if there is one."""
    wrong = troubles(snapshot, Limits(**limits))
    assert len(wrong) <= 1
    return wrong[0] if wrong else None


@pytest.mark.parametrize(
    ("seconds", "usual", "is_wrong"),
    [
        (299, None, False),
        (301, None, True),
        # Less than a minute is never wrong.
        (59, 0.01, False),
        (61, 0.01, True),
        (500, 200.0, False),
        (700, 200.0, True),
        (3600, 3000.0, False),
    ],
)
def test_older_than_its_usual(seconds: float, usual: float | None, *, is_wrong: bool) -> None:
    """
    Three times what is usual for this queue; five minutes where nothing is known.
    """
    assert is_wrong == (one(waiting(seconds, usual)) is not None)


def test_an_old_queue_says_what_is_usual_and_its_rates() -> None:
    """
    All of one line, with what to do.
    """
    rates = {
        "rate_in": Rate(per_minute=120, is_exact=True),
        "rate_out": Rate(per_minute=30, is_exact=True),
    }
    wrong = one(waiting(700, 2.0, **rates))

    assert wrong is not None
    assert (
        "its oldest message has waited for 12 min, older than its usual 2 s; 5 wait, "
        "1 workers take from it, 120 come and 30 go a minute"
    ) == wrong.message
    assert "add workers" in wrong.repair


def test_a_limit_that_was_given_counts_alone() -> None:
    """
    Whatever is usual.
    """
    assert one(waiting(61, 3000.0), waiting=60) is not None
    assert one(waiting(3600, 1.0), waiting=7200) is None
    assert one(running(5, usual=3000.0), running=1) is not None


@pytest.mark.parametrize(
    ("seconds", "limit", "usual", "level"),
    [
        (599, None, None, None),
        (601, None, None, "warning"),
        (59, None, 0.01, None),
        (612, None, 3.0, "warning"),
        (612, 600, 3.0, "error"),
        # The limit may take a moment to end it.
        (605, 600, 300.0, None),
        (612, 600, 300.0, "error"),
    ],
)
def test_running_for_longer_than_usual(
    seconds: float, limit: float | None, usual: float | None, level: str | None
) -> None:
    """
    Three times what is usual for the task, and never beyond its time limit.
    """
    wrong = one(running(seconds, limit, usual))

    assert level == (wrong and wrong.level)


def test_a_long_task_says_what_is_usual_and_its_limit() -> None:
    """
    With the id, whole, and where to look.
    """
    wrong = one(running(612, 600, 3.0))

    assert wrong is not None
    assert "proj.work[id] has been running for 612 s (usual 3 s, limit 600 s)" == wrong.message
    assert "SIGUSR1 to pid 7 on h" in wrong.repair
    unknown = one(running(700))
    assert unknown is not None
    assert unknown.message.endswith("(no time limit)")


@pytest.mark.parametrize(
    ("failed", "succeeded", "is_wrong"),
    [(2, 0, False), (3, 0, True), (3, 12, False), (3, 11, True), (50, 1000, False)],
)
def test_a_task_that_fails(failed: int, succeeded: int, *, is_wrong: bool) -> None:
    """
    Three times at least, and more than one in five; in all queues together.
    """
    rows = tuple(
        TaskStatistics(task="proj.work", queue=queue, total=Finished(), recent=recent, seconds=300)
        for queue, recent in (("a", Counts(failed=failed)), ("b", Counts(succeeded=succeeded)))
    )

    assert is_wrong == (one(found(tasks=rows)) is not None)


def idle_queue(*workers: Worker) -> Trouble:
    """Return what is said first of a queue from which none of *workers* takes."""
    queue = Queue(name="q", waiting={0: 5}, consumers=())
    drained = {one.node: one.drained for one in workers if one.drained is not None}
    snapshot = found(queues=(queue,), workers=workers, drained=drained)
    wrong = [each for each in troubles(snapshot, Limits()) if each.what == "q"]
    assert len(wrong) == 1
    return wrong[0]


def ours(state: State, stop: Stop | None = None) -> Worker:
    """Return a worker of the queue."""
    return Worker(
        node="w@h", run="r", state=state, queues=("q",), started={}, drained=stop, obeys=True
    )


def test_a_queue_whose_workers_are_drained_is_consumed_by_nobody() -> None:
    """
    It says which they are, and what lets them go on.
    """
    wrong = idle_queue(ours("ready", Stop(NOW, "alice")))

    assert "5 wait, and nobody takes from it: drained by hand: w@h" == wrong.message
    assert "task-server resume w@h" == wrong.repair
    assert not ours("ready", Stop(NOW, "alice")).takes
    assert not ours("draining").takes
    assert ours("ready").takes


def test_a_queue_whose_workers_stop_or_start_is_consumed_by_nobody() -> None:
    """
    A deployment is no error yet; one that is silent does not count.
    """
    stops, silent = idle_queue(ours("draining")), idle_queue(ours("silent"))

    assert "5 wait, and nobody takes from it: w@h is draining" == stops.message
    assert ("warning", "error") == (stops.level, silent.level)
    assert "start a worker" in stops.repair
