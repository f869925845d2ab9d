"""Tasks that are deferred, or collected, on purpose are no stall."""

import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from celery import Celery

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

pytestmark = pytest.mark.slow

#: celery-batches is where its range allows the Celery that is installed; ours is the same idea.
KINDS = ("own", "published") if find_spec("celery_batches") else ("own",)


@pytest.fixture
def app(broker: Redis) -> Iterator[Celery]:
    """Sends tasks and remote control commands."""
    sender = Celery("batching", broker=broker.url)
    yield sender
    sender.close()


def heartbeats(worker: Worker, count: int) -> list[Any]:
    """Return *count* heartbeats, each with a new reading of the queues."""
    seen: dict[float, Any] = {}

    def all_seen() -> bool:
        beat = worker.heartbeat()
        if beat is not None and beat.queues_seen is not None:
            seen[beat.queues_seen] = beat
        return len(seen) >= count

    until(all_seen, seconds=20.0 * count)
    return list(seen.values())


@pytest.mark.parametrize("pool", POOLS)
def test_tasks_limited_by_their_rate_are_no_stall(
    pool: str, broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    Sixty tasks limited to one in ten minutes, on free places: reserved, and healthy. A
    queue that the worker has stopped consuming is no backlog of its own.
    """
    worker = start(pool, app="batching", timing={"queue_scan": 1})
    worker.hear("READY=1")
    for number in range(60):
        app.send_task("batching.rare", (number,))
    until(lambda: len(worker.ends()) == 1)
    until(lambda: (beat := worker.heartbeat()) and beat.reserved >= 7)

    beats = heartbeats(worker, 3)[1:]

    assert {None} == {beat.backlog_since for beat in beats}
    assert all(beat.queues["celery"] > 0 and beat.free == 2 for beat in beats)
    assert worker.verdict(max_idle=0).ready
    app.control.cancel_consumer("celery")
    until(lambda: {} == worker.heartbeat().queues)
    worker.send(signal.SIGTERM)
    assert 0 == worker.wait()
    assert (59, 0) == (broker.queued(), broker.unacked())


@pytest.mark.parametrize("pool", POOLS)
def test_messages_that_would_be_too_many_bytes_are_no_stall(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    With the bytes of a single message as the bound one runs at a time, on four free places.
    """
    worker = start(pool, concurrency=4, prefetch_bytes=300_000, timing={"queue_scan": 1})
    worker.hear("READY=1")
    for number in range(6):
        headers = {"ballast": "x" * 300_000}
        send("wait_for", number, broker.url, f"go-{number}", headers=headers)
    until(lambda: worker.starts() == {0: 1})

    beats = heartbeats(worker, 3)[1:]

    assert {(1, 3, None)} == {(beat.active, beat.free, beat.backlog_since) for beat in beats}
    assert worker.verdict(max_idle=0).ready
    assert "more are fetched when some are done" in worker.output()
    for number in range(6):
        broker.client.lpush(f"go-{number}", "1")
    until(lambda: worker.ends() == dict.fromkeys(range(6), 1))
    until(lambda: 0 == broker.unacked())


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_fetches_nothing_ahead_takes_what_it_can_run(
    pool: str, broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    With worker_disable_prefetch two run, the rest waits in the queue, and all run in the end.
    """
    worker = start(pool, app="batching", environ={"NO_PREFETCH": "1"})
    worker.hear("READY=1")
    for number in range(8):
        app.send_task("batching.plain", (number, 1.0))
    until(lambda: len(worker.starts()) == 2)
    verdict = worker.verdict(max_idle=0)

    until(lambda: len(worker.ends()) == 8)

    assert verdict.alive, verdict
    assert dict.fromkeys(range(8), 1) == worker.starts()
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pool", POOLS)
def test_a_batch_runs_and_is_acknowledged_once(
    pool: str, kind: str, broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    Messages that a request class of the project's collects run as one job on both pools.
    """
    worker = start(pool, app="batching")
    worker.hear("READY=1")
    for number in range(10):
        app.send_task(f"batching.{kind}", (number,))
    until(lambda: len(worker.ends()) == 10)
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))

    assert dict.fromkeys(range(10), 1) == worker.starts() == worker.ends()
    assert "Traceback" not in worker.output()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pool", POOLS)
def test_a_stop_waits_for_a_batch_and_returns_what_is_collected(
    pool: str, kind: str, broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    SIGTERM while four run as one, and two are collected: those go back, and none runs twice.
    """
    worker = start(pool, app="batching", environ={"BATCH_SECONDS": "4"})
    worker.hear("READY=1")
    for number in range(6):
        app.send_task(f"batching.{kind}", (number,))
    until(lambda: len(worker.starts()) == 4)
    until(lambda: broker.unacked() == 6)
    assert 1 <= until(lambda: (beat := worker.heartbeat()) and beat.active)

    worker.send(signal.SIGTERM)
    assert 0 == worker.wait()

    assert len(worker.starts()) == len(worker.ends())
    assert {1} == set(worker.starts().values())
    assert (6 - len(worker.ends()), 0) == (broker.queued(), broker.unacked()), worker.output()
    other = start(pool, app="batching")
    other.hear("READY=1")
    until(lambda: len(other.ends()) == 6)
    assert dict.fromkeys(range(6), 1) == other.starts() == other.ends()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pool", POOLS)
def test_a_batch_that_outlasts_the_drain_goes_back_whole(
    pool: str, kind: str, broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    What was stopped is in the queue, and not acknowledged by its end.
    """
    worker = start(pool, app="batching", environ={"BATCH_SECONDS": "60"}, drain_seconds=1)
    worker.hear("READY=1")
    for number in range(4):
        app.send_task(f"batching.{kind}", (number,))
    until(lambda: len(worker.starts()) == 4)

    worker.send(signal.SIGTERM)
    assert 0 == worker.wait(30)

    assert (4, 0) == (broker.queued(), broker.unacked()), worker.output()
    assert {} == worker.ends()


@pytest.mark.parametrize("pool", POOLS)
def test_a_batch_outlives_its_connection_once(
    pool: str, broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    What runs while the connection is cut is not delivered again.
    """
    worker = start(pool, app="batching", environ={"BATCH_SECONDS": "5"})
    worker.hear("READY=1")
    for number in range(4):
        app.send_task("batching.own", (number,))
    until(lambda: len(worker.starts()) == 4)
    for kind in ("normal", "pubsub"):
        broker.client.client_kill_filter(_type=kind, skipme=True)
    until(lambda: len(worker.ends()) == 4)
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))

    assert dict.fromkeys(range(4), 1) == worker.starts() == worker.ends()


def test_a_batch_that_raises_no_exception_holds_nothing(
    broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    Under gevent a batch that ends by SystemExit is acknowledged, and said in the log.
    """
    worker = start("gevent", app="batching", environ={"BATCH_RAISES": "1"})
    worker.hear("READY=1")
    for number in range(12):
        app.send_task("batching.own", (number,))
    until(lambda: len(worker.starts()) == 12)
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))

    assert worker.output().count("a job of 4 messages for batching.own: SystemExit(1)") == 3
    assert worker.process.poll() is None
