"""However a task ends, it fails or succeeds, and its place is free."""

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import Worker

pytestmark = pytest.mark.slow

#: What a task may raise and Celery's tracer lets through, and under a prefork child would end it.
WAYS = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "MemoryError")


@pytest.fixture
def worker(broker: Redis, start: Callable[..., Worker], request: Any) -> Worker:
    """A gevent worker of two places."""
    settings = getattr(request, "param", {})
    environ = {"CELERY_RESULT_BACKEND": broker.url}
    one = start("gevent", app="leaving", environ=environ, **settings)
    one.hear("READY=1")
    return one


def lines(worker: Worker, word: str) -> list[str]:
    """Return what tasks have said of *word*, sorted."""
    found = [line for line in worker.log.read_text().splitlines() if line.startswith(f"{word} ")]
    return sorted(found, key=lambda line: int(line.split()[1]))


def test_a_task_that_raises_no_exception_fails_and_frees_its_place(
    broker: Redis, app: Celery, worker: Worker
) -> None:
    """
    SystemExit and its like, 18 times on two places: each task fails once, with its hooks, and
    the worker goes on.
    """
    ways = [*WAYS, "gevent.Timeout"] * 3
    said = [how.replace("gevent.Timeout", "<Timeout") for how in ways]
    left = [
        app.send_task("leaving.leave", (number, how)) for number, how in enumerate(ways, start=10)
    ]
    after = [app.send_task("leaving.nothing", (number,)) for number in range(6)]

    assert list(range(6)) == [result.get(timeout=100) for result in after]
    until(lambda: all(result.ready() for result in left))
    assert {"FAILURE"} == {result.state for result in left}
    texts = [str(result.result) for result in left]
    assert [True] * 18 == [
        text.startswith(f"the task raised {how}") or (how, text) == ("MemoryError", str(number))
        for number, (how, text) in enumerate(zip(said, texts, strict=True), start=10)
    ], texts
    assert {1} == set(worker.starts().values())
    kinds = ["MemoryError" if how == "MemoryError" else "TaskError" for how in ways]
    for word in ("hook", "signal"):
        expected = [f"{word} {number} {kind}" for number, kind in enumerate(kinds, start=10)]
        assert expected == lines(worker, word)
    assert "its result is lost" not in worker.output()
    until(lambda: broker.unacked() == 0)
    until(lambda: (beat := worker.heartbeat()) and beat.active == 0)
    assert 0 == broker.client.llen("celery")
    worker.send(15)
    assert 0 == worker.wait()


def test_what_a_task_has_spawned_ends_no_worker(app: Celery, worker: Worker) -> None:
    """
    sys.exit in a greenlet or a thread of a task ends that one.
    """
    beside = app.send_task("leaving.beside", (1,))

    assert beside.get(timeout=100) is None
    assert 7 == app.send_task("leaving.nothing", (7,)).get(timeout=100)
    assert worker.process.poll() is None


def test_a_soft_limit_reaches_a_task_that_waits(app: Celery, worker: Worker) -> None:
    """
    That of the call, that of the task and that of the worker; what the task makes of it counts.
    """
    send = app.send_task
    called = send("leaving.linger", (1, 30), soft_time_limit=1)
    own = send("leaving.limited", (2, 30))
    unaware = send("leaving.oblivious", (3, 30), soft_time_limit=1)

    assert "in time" == called.get(timeout=100)
    assert own.get(timeout=100) is None
    with pytest.raises(SoftTimeLimitExceeded):
        unaware.get(timeout=100)
    assert ["soft 1", "soft 2"] == lines(worker, "soft")
    until(lambda: worker.output().count("Soft time limit (1s) exceeded for leaving.") == 3)


@pytest.mark.parametrize("worker", [{"soft_time_limit": 1, "time_limit": 3}], indirect=True)
def test_a_task_in_time_meets_no_limit(broker: Redis, app: Celery, worker: Worker) -> None:
    """
    Nothing is thrown into a greenlet whose task has ended, nor into the next task's; the hard
    limit ends what goes on after the soft one.
    """
    quick = [app.send_task("leaving.linger", (number, 0.9)) for number in range(20)]
    long = app.send_task("leaving.linger", (20, 30))
    overrun = app.send_task("leaving.overrun", (21, 30))

    assert ["done"] * 20 == [result.get(timeout=60) for result in quick]
    assert "in time" == long.get(timeout=100)
    with pytest.raises(TimeLimitExceeded):
        overrun.get(timeout=100)
    assert ["soft 20", "soft 21"] == lines(worker, "soft")
    until(lambda: broker.unacked() == 0)


def test_a_task_that_computes_meets_its_soft_limit_when_it_waits(
    app: Celery, worker: Worker
) -> None:
    """
    Without a switch nothing can be raised; the first one is enough.
    """
    assert "late" == app.send_task("leaving.busy", (1, 2), soft_time_limit=1).get(timeout=100)
