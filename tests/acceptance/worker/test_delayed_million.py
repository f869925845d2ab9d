"""A million delayed tasks: a worker is as large as without them, starts, runs others and stops."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

MANY = 1_000_000

#: Members that one command adds.
PORTION = 10_000

#: How much larger a worker may be, of its memory without them: what starts differ by.
LARGER = 1.05


def memory(worker: Worker) -> int:
    """Return the memory of the main process that is its own or shared, in kB."""
    for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("it has ended")


def used(start: Callable[..., Worker], app: Celery, broker: Redis, pool: str, first: int) -> int:
    """Return the memory of a worker that has run some tasks, and has been idle since; stop it."""
    worker = start(pool, app="delaying", delay_seconds=0.5)
    worker.hear("READY=1")
    for number in range(first, first + 200):
        app.send_task("delaying.work", (number,))
    until(lambda: worker.log.read_text().count("run ") >= first + 200)
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))
    # Nothing is held: a heartbeat that was written since says so.
    until(lambda: (beat := worker.heartbeat()) and beat.reserved == 0)
    size = memory(worker)
    assert 0 == worker.stop()
    return size


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("pool", POOLS)
def test_a_million_delayed_tasks_cost_a_worker_nothing(
    pool: str, broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    Its memory is that without them, and a stop leaves them where they are.
    """
    without = used(start, app, broker, pool, 0)
    app.send_task("delaying.work", (1,), countdown=36_000, priority=3)
    (key,) = (each for each in broker.queues() if broker.client.llen(each))
    text: Any = broker.client.rpop(key)
    due = time.time() + 36_000
    delayed = b"unacked.delayed:" + key
    for first in range(0, MANY, PORTION):
        members = {
            b"%.6f:%04d-%d " % (due, number % 10_000, number) + text: due + number
            for number in range(first, first + PORTION)
        }
        broker.client.zadd(delayed, members)
    sizes = [used(start, app, broker, pool, first) for first in (200, 400)]

    assert MANY == broker.delayed()
    assert min(sizes) / without < LARGER
