"""What the worker does now: how many tasks run and wait, how many slots are free."""

from typing import TYPE_CHECKING, Any

from celery.worker import state

from task_server.health.heartbeat import Heartbeat
from task_server.worker.status.running import StoppedChildren, oldest
from task_server.worker.status.slots import LeakedSlots

if TYPE_CHECKING:
    from collections.abc import Iterable

    from task_server.worker.foreign_requests import PoolJobs


class Activity:
    """
    Counts the requests of one worker, at each heartbeat.

    Attributes:
        requests: Those that the worker has received and that have not ended.

        foreign: Jobs of the pool that belong to no single request.

        stopped: The children of the pool that are stopped.
    """

    def __init__(self) -> None:
        self.requests: Iterable[Any] = ()
        self.foreign: PoolJobs | None = None
        self._pool: Any = None
        self._slots: LeakedSlots | None = None
        self.stopped = StoppedChildren()

    def started(self, pool: Any, slots: LeakedSlots) -> None:
        """Count what Celery's *pool* runs from now on, *slots* what it has lost."""
        self._pool = pool
        self._slots = slots

    def counted(self, heartbeat: Heartbeat, now: float) -> Heartbeat:
        """Return *heartbeat* with what is true *now*, on the monotonic clock."""
        jobs = self.foreign.running if self.foreign is not None else []
        taken = {request for job in jobs for request in job.requests}
        active = len(state.active_requests) + len(jobs)
        # Whatever a task waits for: its ETA, its rate limit, a slot, a batch.
        waiting = sum(
            request not in state.active_requests and request not in taken
            for request in self.requests
        )
        concurrency = self._pool.num_processes if self._pool else heartbeat.concurrency
        return heartbeat._replace(
            active=active,
            reserved=waiting,
            concurrency=concurrency,
            free=max(0, concurrency - active),
            lost=self._slots.count(state.active_requests, now) if self._slots else 0,
            processed=max(0, state.all_total_count[0] - active),
            **oldest(state.active_requests),
            **self.stopped.look(self._pool, state.active_requests, now),
        )
