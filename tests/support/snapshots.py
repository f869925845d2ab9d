"""Snapshots that no broker was asked for."""

from typing import Any

from task_server.monitor.model import Age, Broker, Queue, Snapshot, Worker
from task_server.transport.store.in_flight import InFlight

#: When they were taken.
AT = 1_800_000_000.0


def message(tag: str = "t", queue: str = "celery", **values: Any) -> InFlight:
    """Return a message that a worker has."""
    given: dict[str, Any] = {
        "task": "proj.work",
        "id": tag,
        "node": "prefork@a",
        "pid": 7,
        "run": "r",
        "fetched_at": AT - 5,
        "renewed_at": AT - 1,
        "lease": 30.0,
        **values,
    }
    return InFlight(tag=tag, queue=queue, **given)


def worker(node: str = "prefork@a", **values: Any) -> Worker:
    """Return a worker that is ready, unless *values* say otherwise."""
    given: dict[str, Any] = {
        "run": node,
        "pool": "prefork",
        "version": "1",
        "state": "ready",
        "seen": AT - 1,
        "since": AT - 60,
        "concurrency": 4,
        "active": 1,
        "processed": 12,
        "started": {},
        **values,
    }
    return Worker(node=node, **given)


def queue(name: str = "celery", **values: Any) -> Queue:
    """Return a queue in which two messages wait."""
    given: dict[str, Any] = {
        "waiting": {0: 2},
        "oldest": Age(seconds=61.0, is_exact=True),
        **values,
    }
    return Queue(name=name, **given)


def snapshot(*queues: Queue, workers: tuple[Worker, ...] = (), **values: Any) -> Snapshot:
    """Return a snapshot of *queues* and *workers*."""
    given: dict[str, Any] = {"broker": Broker(product="Valkey 8"), "troubles": {}, **values}
    return Snapshot(at=AT, queues=queues, workers=workers, **given)
