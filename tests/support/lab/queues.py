"""Queues with two workers: one that has messages, and one that would take them once expired."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.support.lab.worker import POOLS, start
from tests.support.marks import Marks
from tests.support.redis import Broker, Redis
from tests.support.worker import Worker


@dataclass(frozen=True)
class Queue:
    """A queue with its two workers, of one pool."""

    broker: Broker
    marks: Marks
    holder: Worker
    beside: Worker


@contextmanager
def queues_of(server: Redis, visibility: float, **environ: str) -> Iterator[list[Queue]]:
    """Start the workers of a queue of each pool, each queue in a database of its own."""
    with ExitStack() as stack:
        queues = []
        for number, pool in enumerate(POOLS):
            database, marks = server.database(number), Marks(server.folder, f"marks-{pool}")
            workers = {}
            for name in ("holder", "beside"):
                # As on a host of its own: what is due is found by its lease alone.
                own = server.folder / f"{name}-{number}"
                own.mkdir(mode=0o700)
                workers[name] = stack.enter_context(
                    start(
                        *("atomic", pool, database, marks),
                        visibility=visibility,
                        concurrency=2,
                        NUMBER=name,
                        TASK_SERVER_RUNTIME_DIR=str(own),
                        **environ,
                    )
                )
            queues.append(Queue(database, marks, **workers))
        for queue in queues:
            queue.holder.ready()
            queue.beside.ready()
        yield queues
