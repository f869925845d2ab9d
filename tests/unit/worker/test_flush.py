"""What the prefork pool forgets when the connection is lost, by Celery's own flush."""

from collections import deque
from types import SimpleNamespace
from typing import Any

from billiard.pool import RUN, ApplyResult
from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool

from task_server.worker.pools.prefork import _remember_running_jobs


class Pool:
    """A pool with a child that has two jobs; one more waits for a child."""

    def __init__(self) -> None:
        self._state = RUN
        self.synack = False
        self._cache: dict[int, ApplyResult] = {}
        self._active_writers: set[Any] = set()
        self._active_writes: set[int] = set()
        self._busy_workers: set[int] = set()
        self.maintain_pool = str
        self.child = SimpleNamespace(inqW_fd=7, _is_alive=lambda: True)
        self.accepted, self.written, self.waiting = (
            ApplyResult(self._cache, None) for _ in range(3)
        )
        self.accepted._accepted = True
        self.accepted._write_to = self.written._write_to = self.child
        self.outbound_buffer = deque([self.waiting])


def test_what_was_written_to_a_child_is_remembered() -> None:
    """
    The child runs it, though the word that it has accepted it is not read yet.
    """
    pool: Any = Pool()
    task_pool: Any = TaskPool(1)
    task_pool._pool, task_pool.flush = pool, lambda: AsynPool.flush(pool)

    _remember_running_jobs(task_pool)
    task_pool.flush()

    assert [pool.accepted, pool.written] == list(pool._cache.values())
    assert {7} == pool._busy_workers
    assert not pool.outbound_buffer
