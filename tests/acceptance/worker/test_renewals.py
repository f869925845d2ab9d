"""A living worker keeps its messages, however long their tasks take."""

import time
from collections.abc import Callable

import pytest

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("transport", ["atomic"], indirect=True)]

#: Seconds; everything here takes longer.
ENVIRON = {"TASK_SERVER_VISIBILITY_TIMEOUT": "2"}


@pytest.mark.parametrize("pool", POOLS)
def test_an_eta_beyond_the_visibility_timeout_does_not_multiply(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    Twenty tasks for later run once each, though a stock worker scans for overdue messages.
    """
    began = time.monotonic()
    worker = start(pool, environ=ENVIRON, delay_seconds=0)
    worker.hear("READY=1")
    # The other worker scans for some seconds before they are due, however long a start takes.
    later = 10 + 3 * (time.monotonic() - began)
    due = time.monotonic() + later
    for number in range(20):
        send("work", number, countdown=later)
    until(lambda: broker.unacked() == 20)
    other = start("prefork", transport="kombu", environ=ENVIRON)
    other.hear("READY=1")
    assert {} == worker.starts()
    until(lambda: len(worker.ends()) == 20)

    assert time.monotonic() > due - 1
    assert dict.fromkeys(range(20), 1) == worker.starts() == worker.ends()
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))
    assert "received" not in other.output()


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_longer_than_the_visibility_timeout_runs_once(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    What runs, and what waits in the worker for a free place, is not run by another one.
    """
    worker = start(pool, environ=ENVIRON)
    worker.hear("READY=1")
    for number in range(6):
        send("work", number, 5.0)
    until(lambda: len(worker.starts()) == 2)
    # Those that it has reserved; the other fetches the rest, and then scans.
    other = start(pool, environ=ENVIRON)
    other.hear("READY=1")
    until(lambda: len(worker.ends()) == 6)

    assert dict.fromkeys(range(6), 1) == worker.starts() == worker.ends()
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))


@pytest.mark.parametrize("pool", POOLS)
def test_a_drain_longer_than_the_visibility_timeout_runs_once(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    A task that ends during a long drain is not run by the worker that comes next.
    """
    worker = start(pool, environ=ENVIRON, concurrency=1)
    worker.hear("READY=1")
    send("work", 1, 8.0)
    until(lambda: len(worker.starts()) == 1)
    other = start(pool, environ=ENVIRON)
    other.hear("READY=1")
    worker.send(15)

    assert 0 == worker.wait()
    assert {1: 1} == worker.starts() == worker.ends()
    assert (0, 0) == (broker.queued(), broker.unacked())


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_that_outlives_its_connection_runs_once(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    The next connection holds its message, though it did not fetch it.
    """
    worker = start(pool, environ=ENVIRON)
    worker.hear("READY=1")
    send("work", 1, 8.0)
    until(lambda: len(worker.starts()) == 1)
    for kind in ("normal", "pubsub"):
        broker.client.client_kill_filter(_type=kind, skipme=True)
    other = start(pool, environ=ENVIRON)
    other.hear("READY=1")
    until(lambda: len(worker.ends()) == 1)
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))

    assert {1: 1} == worker.starts() == worker.ends()
