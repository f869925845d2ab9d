"""Redis is away for many leases, while tasks run that began before."""

import signal
from collections import Counter
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from tests.support.lab import Redis, send, until
from tests.support.lab.queues import Queue, queues_of

#: Two tasks run, and the others wait in their worker.
TASKS = 8

#: Seconds of a lease as short as may be, and of one that is not set.
SHORT, DEFAULT = 5, 30


def hang(server: Redis, seconds: float) -> None:
    server.signal(signal.SIGSTOP)
    Event().wait(seconds)
    server.signal(signal.SIGCONT)


def restart(server: Redis, seconds: float) -> None:
    server.stop()
    Event().wait(seconds)
    server.start()


FAULTS: dict[str, Callable[[Redis, float], None]] = {"SIGSTOP": hang, "restart": restart}


def results(queue: Queue) -> Counter[str]:
    """Return how many results there are of each state."""
    client: Any = queue.broker.client
    keys = client.keys("celery-task-meta-*")
    texts = client.mget(keys) if keys else []
    return Counter("SUCCESS" if b'"SUCCESS"' in text else str(text) for text in texts)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("lease", "away"),
    [
        pytest.param(SHORT, 20, id="four short leases"),
        pytest.param(DEFAULT, 300, id="five minutes", marks=pytest.mark.nightly),
    ],
)
def test_redis_is_away_for_many_leases(fault: str, lease: int, away: float, broker: Redis) -> None:
    """
    No task runs twice: its worker lived. Tasks that end while Redis is away keep their results.

    The latter with `result_backend_always_retry`, which is Celery's to follow.
    """
    leased = {} if lease == DEFAULT else {"TASK_SERVER_LEASE_SECONDS": str(lease)}
    with queues_of(broker, 3600, RESULTS="always", **leased) as queues:
        for queue in queues:
            # It holds nothing yet, and so loses nothing.
            queue.beside.process.send_signal(signal.SIGSTOP)
            # One ends while Redis is away, one afterwards.
            send(queue.broker, [0], seconds=away / 2)
            send(queue.broker, [1], seconds=away + lease)
            send(queue.broker, range(2, TASKS), seconds=1)
        until(lambda: all(taken(queue) for queue in queues), "full workers")
        for queue in queues:
            queue.beside.process.send_signal(signal.SIGCONT)
            send(queue.broker, range(TASKS, 2 * TASKS), seconds=1)
        until(lambda: not any(queue.broker.queued() for queue in queues), "all to be taken")
        FAULTS[fault](broker, away)
        until(lambda: all(queue.broker.is_empty() for queue in queues), "all tasks", 240)
        for queue in queues:
            assert dict.fromkeys(range(2 * TASKS), 1) == queue.marks.starts() == queue.marks.ends()
            assert {"SUCCESS": 2 * TASKS} == results(queue)
            assert [0, 0] == [queue.holder.stop(), queue.beside.stop()]


def taken(queue: Queue) -> bool:
    """Whether the holder of *queue* has all that was sent at first."""
    return {0, 1} <= set(queue.marks.starts()) and not queue.broker.queued()
