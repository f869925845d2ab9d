"""What real workers have finished, as they add it up in Redis."""

import signal
from collections.abc import Callable

import pytest
from celery import Celery

from task_server.monitor import Counts, Snapshot, TaskStatistics, day, hour, snapshot
from task_server.monitor.troubles import Limits, troubles
from task_server.transport.store.keys import Keys
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

pytestmark = pytest.mark.slow

#: So that what is finished is seen soon.
TIMING = {"registration": 0.2, "heartbeat": 0.1, "queue_scan": 0.2}

#: As long as no test lasts: what is written then is written at the end.
NEVER = {"registration": 3600, "heartbeat": 0.1}


def look(broker: Redis) -> Snapshot:
    """Return what is in *broker*."""
    return snapshot(broker.client, Keys())


def totals(broker: Redis) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """Return how many succeeded, failed, were retried and rejected, by task and queue."""
    return {
        (one.task.rpartition(".")[2], one.queue): (
            *(one.total.succeeded, one.total.failed, one.total.retried, one.total.rejected),
        )
        for one in look(broker).tasks
    }


def one_of(found: Snapshot, task: str) -> TaskStatistics:
    """Return the statistics of the only row of *task*."""
    (one,) = (one for one in found.tasks if one.task == task)
    return one


@pytest.mark.parametrize("pool", POOLS)
def test_each_way_to_end_is_counted(
    pool: str, broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    By task and queue, each try by itself; a task that another one runs in itself is none.
    """
    start(pool, app="counting", timing=TIMING, queues=["celery", "topical"]).hear("READY=1")
    for name in ("good", "good", "bad", "retried", "ignored", "rejected", "inner", "hang"):
        app.send_task(f"counting.{name}")
    app.send_task("counting.good", exchange="news", routing_key="news.key")
    expected = {
        ("good", "celery"): (2, 0, 0, 0),
        ("good", "topical"): (1, 0, 0, 0),
        ("bad", "celery"): (0, 1, 0, 0),
        ("retried", "celery"): (0, 1, 2, 0),
        ("ignored", "celery"): (0, 0, 0, 1),
        ("rejected", "celery"): (0, 0, 0, 1),
        ("inner", "celery"): (1, 0, 0, 0),
        ("hang", "celery"): (0, 1, 0, 0),
    }
    until(lambda: sum(map(sum, totals(broker).values())) >= sum(map(sum, expected.values())))
    (worker,) = look(broker).workers

    assert expected == totals(broker)
    ended = {"succeeded": 4, "failed": 3, "retried": 2, "rejected": 2}
    assert ended == worker.ended
    found = hour(broker.client, Keys())
    assert 11 == sum(one.ended for name in ("celery", "topical") for one in found.of_queue(name))
    assert 2 == sum(one.succeeded for one in day(broker.client, Keys()).of_queue("celery")) - 1
    # Those who hang, with no time of an end, ran for their limit.
    assert one_of(look(broker), "counting.hang").total.ran.sum >= 1


def test_a_child_that_dies_has_failed(
    broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    Its process cannot say so; what that had finished before is counted all the same.
    """
    start("prefork", app="counting", timing=TIMING, concurrency=1).hear("READY=1")
    for name in ("good", "good", "die", "good"):
        app.send_task(f"counting.{name}")
    expected = {("good", "celery"): (3, 0, 0, 0), ("die", "celery"): (0, 1, 0, 0)}

    assert until(lambda: expected == totals(broker))


@pytest.mark.parametrize("pool", POOLS)
def test_nothing_is_lost_with_a_restart(
    pool: str, broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    A worker writes what it has finished when it ends, whatever has become of its children.
    """
    settings = {"extra_args": ["--max-tasks-per-child=3"]} if pool == "prefork" else {}
    for number in range(2):
        process = start(pool, app="counting", timing=NEVER, **settings)
        process.hear("READY=1")
        for _ in range(20):
            app.send_task("counting.good", headers={"task-server-sent": [1.0, 0]})
        until(lambda: 0 == broker.client.llen("celery") and 0 == broker.unacked())
        process.send(signal.SIGTERM)
        assert 0 == process.wait()
        assert {("good", "celery"): (20 * (number + 1), 0, 0, 0)} == totals(broker)

    found = one_of(look(broker), "counting.good").total
    assert (40, 40) == (found.ran.count, found.waited.count)
    # Since 1970.
    assert found.waited.counts[-1] == 40


def test_a_worker_that_does_not_monitor_writes_nothing(
    broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    `monitor = false`: no registration and no statistics.
    """
    process = start("prefork", app="counting", timing=TIMING, monitor=False)
    process.hear("READY=1")
    app.send_task("counting.good")
    until(lambda: 0 == broker.client.llen("celery") and 0 == broker.unacked())
    process.send(signal.SIGTERM)

    assert 0 == process.wait()
    assert [] == broker.client.keys("unacked.workers") + broker.client.keys("unacked.statistics*")


def test_a_task_that_always_fails_is_named(
    broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    How many of how many, how many a minute, and what to do.
    """
    start("prefork", app="counting", timing=TIMING).hear("READY=1")
    for _ in range(5):
        app.send_task("counting.bad")
    until(lambda: [one for one in look(broker).tasks if one.recent.failed == 5])
    found = look(broker)
    (wrong,) = troubles(found, Limits())

    assert Counts(failed=5) == one_of(found, "counting.bad").recent
    assert "counting.bad" == wrong.what
    assert wrong.message.startswith("5 of 5 failed in the last ")
    assert "task-server failed list --task counting.bad" == wrong.repair


def test_rates(broker: Redis, start: Callable[..., Worker], app: Celery) -> None:
    """
    What workers have finished goes out; that, and by how much the queue has grown, comes in.
    """
    start("prefork", app="counting", timing=TIMING).hear("READY=1")
    for _ in range(6):
        app.send_task("counting.good")
    until(lambda: [one for one in look(broker).tasks if one.recent.succeeded == 6])
    found = look(broker)
    queue = next(queue for queue in found.queues if queue.name == "celery")
    (one,) = found.tasks

    assert queue.rate_out is not None
    assert queue.rate_out.is_exact
    assert queue.rate_out.per_minute == pytest.approx(one.per_minute())
    assert 0 < queue.rate_out.per_minute <= 6
    # Nobody looked five minutes ago.
    assert queue.rate_in is None
