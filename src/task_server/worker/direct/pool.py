"""
Celery's pool of processes, whose children also fetch for themselves.

Billiard's child waits for a job, runs it, says its result, and waits again. Here it looks in
Redis before it waits again, and says when it waits: until then the pool gives it no other job.
"""

import logging
import signal
from collections.abc import Callable
from typing import Any, Final, Protocol

import celery
from billiard import pool as billiard_pool
from celery.concurrency import asynpool as celery_asynpool
from celery.exceptions import SoftTimeLimitExceeded

from task_server.worker.direct.fetch import Lost
from task_server.worker.direct.loop import COUNTED, FAILED, FREE, HANDED, LOST, Loop
from task_server.worker.direct.notice import Notice
from task_server.worker.direct.slot import Fetched, Slot

logger: Final = logging.getLogger(__name__)

asynpool: Any = celery_asynpool
celery_current: Any = celery
billiard: Any = billiard_pool


class Parent(Protocol):
    """What the pool tells the main process."""

    on_job_ready: Callable[[], None]

    def on_handed(self, process: Any, number: int, one: Fetched) -> None: ...
    def on_failed(self, process: Any, number: int, result: Any) -> None: ...
    def on_lost(self, lost: Lost) -> None: ...
    def on_counted(self, counts: dict[str, int]) -> None: ...
    def on_exit(self, process: Any) -> None: ...


class Worker(asynpool.Worker):  # type: ignore[misc]
    """A child."""

    slot: Slot
    notice: Notice

    def after_fork(self) -> None:
        """Let a soft time limit interrupt tasks only."""
        super().after_fork()
        self._loop: Loop | None = None

        def interrupt(number: int, frame: Any) -> None:  # noqa: ARG001 - signal's shape
            if self._loop is None or self._loop.is_in_task:
                raise SoftTimeLimitExceeded

        signal.signal(billiard.SIG_SOFT_TIMEOUT, interrupt)

    def on_loop_start(self, pid: int) -> None:
        """Say that this child waits for jobs."""
        self._loop = Loop(
            celery_current.current_app._get_current_object(),  # noqa: SLF001 - Celery has no other way
            self.slot,
            self.notice,
            self.outq.put,
            pid=pid,
            writes_to=self.inqW_fd,
            limit=self.maxtasks,
            memory=self.max_memory_per_child or 0,
        )
        super().on_loop_start(pid)

    def _make_child_methods(self, *args: Any, **kwargs: Any) -> None:
        super()._make_child_methods(*args, **kwargs)
        receive: Any = self.wait_for_job  # type: ignore[has-type]
        self.wait_for_job = self._fetching(receive, self.inq._reader.poll)  # noqa: SLF001 - billiard's

    def _fetching(self, receive: Callable[[], Any], has_job: Callable[[float], bool]) -> Any:
        waits = True

        def wait_for_job() -> Any:
            nonlocal waits
            if not waits and not has_job(0):
                assert self._loop is not None  # noqa: S101 - it is made before the first job
                self._loop.work()
                waits = True
            request = receive()
            if request:
                waits = False
                self._loop.jobs += 1  # type: ignore[union-attr]
            return request

        return wait_for_job


class Pool(asynpool.AsynPool):  # type: ignore[misc]
    """
    The processes.

    Attributes:
        notice: What they are told.

        parent: Who is told what they say.
    """

    Worker = Worker

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.notice = Notice()
        self.parent: Parent | None = None
        super().__init__(*args, **kwargs)

    def WorkerProcess(self, worker: Any) -> Any:  # noqa: N802 - billiard's
        """Give the process of *worker* the memory that it shares with this one."""
        worker.slot, worker.notice = Slot(), self.notice
        process = super().WorkerProcess(worker)
        process.slot = worker.slot
        return process

    def create_result_handler(self) -> Any:
        """Read what our children say beside billiard's words."""
        handler = super().create_result_handler()
        handler.state_handlers.update(
            {
                FREE: self._on_free,
                HANDED: self._on_handed,
                FAILED: self._on_failed,
                LOST: self._on_lost,
                COUNTED: self._on_counted,
            }
        )
        return handler

    def on_job_ready(self, job: int, i: Any, obj: Any, inqW_fd: int) -> None:  # noqa: ARG002, N803 - billiard's
        """Wait until the child says that it is free."""
        if self.parent is not None:
            self.parent.on_job_ready()

    @property
    def free(self) -> int:
        """How many children wait for a job that nobody has given them yet."""
        return len(self._all_inqueues - self._busy_workers)

    def process_of(self, pid: int) -> Any:
        """Return the process *pid*; None if it is gone."""
        return next((one for one in tuple(self._pool) if one.pid == pid), None)

    def _on_free(self, pid: int, writes_to: int, counts: dict[str, int]) -> None:
        process = self._fileno_to_inq.get(writes_to)
        if process is not None and process.pid == pid:
            self._mark_worker_as_available(writes_to)
        self._on_counted(pid, counts)

    def _on_counted(self, pid: int, counts: dict[str, int]) -> None:  # noqa: ARG002 - of all alike
        if self.parent is not None and counts:
            self.parent.on_counted(counts)

    def _on_handed(self, pid: int, number: int, one: Fetched) -> None:
        if self.parent is not None:
            self.parent.on_handed(self.process_of(pid), number, one)

    def _on_failed(self, pid: int, number: int, result: Any) -> None:
        if self.parent is not None:
            self.parent.on_failed(self.process_of(pid), number, result)

    def _on_lost(self, pid: int, lost: Lost) -> None:  # noqa: ARG002 - of all alike
        if self.parent is not None:
            self.parent.on_lost(lost)

    def _join_exited_workers(self, shutdown: bool = False) -> Any:  # noqa: FBT001, FBT002 - billiard's
        """Settle what a child that has ended had fetched, before billiard looks at its jobs."""
        for process in tuple(self._pool):
            if process._popen is not None and process.exitcode is not None:  # noqa: SLF001 - billiard's
                # It may have said something at last.
                self.process_flush_queues(process)
                if self.parent is not None and not getattr(process, "is_settled", False):
                    process.is_settled = True
                    self.parent.on_exit(process)
        return super()._join_exited_workers(shutdown=shutdown)

    def _worker_active(self, worker: Any) -> bool:
        """Whether it runs, or may fetch, anything, so that a smaller pool must not end it."""
        # A child that has ended a job fetches before it says that it is free.
        return worker.inqW_fd in self._busy_workers or bool(super()._worker_active(worker))

    def flush(self) -> None:
        """Drop what has not started; children that fetch for themselves are not free by that."""
        super().flush()
        self._busy_workers.update(
            process.inqW_fd for process in tuple(self._pool) if not process.slot.is_idle
        )
