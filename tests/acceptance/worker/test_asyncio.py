"""Tasks that use asyncio under gevent, beside tasks that do not."""

import signal
import time
from collections import Counter
from collections.abc import Callable

import pytest
from celery import Celery
from celery.exceptions import TimeLimitExceeded
from celery.result import AsyncResult

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import Worker

pytestmark = pytest.mark.slow

#: Every way into a loop, those with the ORM inside included.
WAYS = (
    *("by_async_to_sync", "by_run", "by_runner", "by_loop", "by_one_loop"),
    *("orm_within", "orm_nested", "in_threads", "context"),
)

HOW = ("run", "loop", "async_to_sync")


@pytest.fixture
def begin(broker: Redis, start: Callable[..., Worker]) -> Callable[..., Worker]:
    """Start a gevent worker of 64 places."""

    def begin_worker(**settings: object) -> Worker:
        environ = {"CELERY_RESULT_BACKEND": broker.url}
        worker = start("gevent", app="looping", concurrency=64, environ=environ, **settings)
        worker.hear("READY=1")
        return worker

    return begin_worker


def outcomes(results: list[AsyncResult]) -> Counter[str]:
    """Wait for *results*; return how many of each there are."""
    until(lambda: all(result.ready() for result in results))
    return Counter(repr(result.result) for result in results)


def test_tasks_in_a_loop_are_not_seen_by_others(app: Celery, begin: Callable[..., Worker]) -> None:
    """
    Ten tasks in loops beside fifty that use the ORM: 60 of 60, as long as one takes.
    """
    begin()
    names = ["by_async_to_sync", "by_run"] * 5 + ["orm"] * 50

    results = [app.send_task(f"looping.{name}") for name in names]

    assert {"1": 60} == outcomes(results)


def test_every_way_into_a_loop(app: Celery, begin: Callable[..., Worker]) -> None:
    """
    Each five times at once beside the ORM, with the task's context, and no word in the log.
    """
    worker = begin()

    results = [app.send_task(f"looping.{name}") for name in [*WAYS, "orm"] * 5]
    failing = app.send_task("looping.failing")

    assert {"1": 45, "True": 5} == outcomes(results)
    with pytest.raises(LookupError, match="in a coroutine"):
        failing.get(timeout=100)
    assert "in fail" in str(failing.traceback)
    assert "never awaited" not in worker.output()
    assert "destroyed" not in worker.output()


def test_loops_may_be_left_as_gevent_has_them(app: Celery, begin: Callable[..., Worker]) -> None:
    """
    With asyncio = "shared" a loop of one task is in the way of all others.
    """
    begin(asyncio="shared")

    results = [app.send_task("looping.by_run") for _ in range(5)]

    assert 1 == outcomes(results)["1"]


def test_time_limits_cancel_at_the_next_await(app: Celery, begin: Callable[..., Worker]) -> None:
    """
    The soft limit is raised where the task entered the loop, the hard one ends it; a coroutine
    is cancelled first and may tidy up.
    """
    worker = begin()
    send = app.send_task

    soft = [
        send("looping.long", (number, 60, how), soft_time_limit=1) for number, how in enumerate(HOW)
    ]
    hard = [
        send("looping.long", (number, 60, how), time_limit=1)
        for number, how in enumerate(HOW, start=3)
    ]

    assert {"'in time'": 3} == outcomes(soft)
    for result in hard:
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=100)
    said = worker.log.read_text().split("\n")
    assert [f"tidied {number}" for number in range(6)] == sorted(
        line for line in said if line.startswith("tidied")
    )


def test_a_coroutine_that_is_deaf_holds_no_place(
    broker: Redis, app: Celery, begin: Callable[..., Worker]
) -> None:
    """
    One that goes on after it was cancelled, or waits for sync code: the hard limit ends the task.
    """
    worker = begin()
    ways = ("run", "async_to_sync", "sync code")
    sent = time.monotonic()
    results = [
        app.send_task("looping.deaf", (number, how), time_limit=1)
        for number, how in enumerate(ways)
    ]

    for result in results:
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=100)
    # The sync code alone takes a minute.
    assert time.monotonic() - sent < 55
    until(lambda: (beat := worker.heartbeat()) and beat.active == 0)
    until(lambda: broker.unacked() == 0)
    worker.send(signal.SIGTERM)
    assert 0 == worker.wait(20)


def test_a_stop_waits_for_loops_and_cancels_them_in_the_end(
    broker: Redis, app: Celery, begin: Callable[..., Worker]
) -> None:
    """
    A short one ends; long ones are cancelled when the drain is over, and are back in the queue.
    """
    worker = begin(drain_seconds=4)
    ways = [*((3.0, how) for how in HOW), *((600.0, how) for how in HOW)]
    for number, (seconds, how) in enumerate(ways):
        app.send_task("looping.long", (number, seconds, how))
    until(lambda: len(worker.starts()) == 6)

    worker.send(signal.SIGTERM)
    assert 0 == worker.wait(40)

    assert dict.fromkeys(range(3), 1) == worker.ends(), worker.output()
    assert (3, 0) == (broker.client.llen("celery"), broker.unacked()), worker.output()
    assert 6 == worker.log.read_text().count("tidied")
