"""The prefork pool: its processes, which tasks run in it, and how they are stopped."""

import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from billiard.pool import WorkersJoined
from celery.app import trace

from task_server.launch.spec import WorkerSpec
from task_server.worker.broker import started, unreadable
from task_server.worker.broker.quarantine import Quarantine
from task_server.worker.database import prefork as database
from task_server.worker.foreign_requests import PoolJobs, request_of
from task_server.worker.patching import patch
from task_server.worker.pools import children, memory
from task_server.worker.pools.base import WorkerParts
from task_server.worker.shutdown.drain import Drain
from task_server.worker.status.heartbeat import HeartbeatWriter


def prepare(spec: WorkerSpec, heartbeat: HeartbeatWriter) -> None:
    """Prepare the process whose children will run tasks."""
    children.install(heartbeat.finished)
    database.install(spec.database_max_age, spec.database_max_idle)
    memory.freeze_before_fork()
    memory.limit_private_memory()


def attach(parts: WorkerParts) -> tuple["PreforkTasks", Quarantine]:
    """Patch the pool, whose children are forked, and the controller."""
    pool = parts.controller.pool
    children.wrap_pool(pool)
    quarantine = Quarantine(parts.start)
    tasks = PreforkTasks(parts.controller, parts.foreign, quarantine, parts.timing.stop_grace)
    started.report_before_children(pool, quarantine)
    unreadable.install_in_controller(parts.controller)
    return tasks, quarantine


def connect(_consumer: Any, _drain: Drain) -> Callable[[], None]:
    """Do nothing: Celery's event loop wakes for a drain, and renews leases."""
    return lambda: None


class Waiting:
    """
    The requests that have not started, and can be handed back.

    They wait in *semaphore* for a child, or, with a child's place, in *quarantine*; or they are
    collected for a *foreign* job.
    """

    def __init__(self, semaphore: Any, foreign: PoolJobs, quarantine: Quarantine) -> None:
        self._semaphore = semaphore
        self._foreign = foreign
        self._quarantine = quarantine

    def of(self, requests: Iterable[Any]) -> list[Any]:
        """Return those of *requests* that have not started."""
        every = list(requests)
        waiting = [*self._for_a_child(every), *self._quarantine.of(every)]
        return list(dict.fromkeys([*waiting, *self._foreign.collected(every)]))

    def withdraw(self, requests: Iterable[Any]) -> list[Any]:
        """Let *requests* not start, which wait; return those that did until now."""
        every = list(requests)
        waiting = self._for_a_child(every)
        gone = set(map(id, waiting))
        kept = [one for one in self._queue if not gone.intersection(map(id, one[1]))]
        self._queue.clear()
        self._queue.extend(kept)
        deferred = self._quarantine.withdraw(every)
        for _ in deferred:
            # For the next that waits here.
            self._semaphore.release()
        return list(dict.fromkeys([*waiting, *deferred, *self._foreign.withdraw(every)]))

    def _for_a_child(self, requests: Iterable[Any]) -> list[Any]:
        waiting = {id(argument) for _, arguments, *_ in self._queue for argument in arguments}
        return [request for request in requests if id(request) in waiting]

    @property
    def _queue(self) -> Any:
        return self._semaphore._waiting  # noqa: SLF001 - Kombu has no other way


class PreforkTasks:
    """
    The tasks of *controller*, a worker with the prefork pool and Celery's event loop, and the
    *foreign* jobs in its pool.

    Args:
        quarantine: Some of them wait there.

        grace: Seconds between SIGQUIT, on which a task's `finally` blocks run, and SIGKILL.

    Attributes:
        waiting: Those that can be handed back.
    """

    def __init__(
        self, controller: Any, foreign: PoolJobs, quarantine: Quarantine, grace: float
    ) -> None:
        self._grace = grace
        self._controller = controller
        self.waiting = Waiting(controller.semaphore, foreign, quarantine)
        self._foreign = foreign
        _remember_running_jobs(controller.pool)
        apply_async = controller.pool.apply_async

        def apply(*args: Any, **options: Any) -> Any:
            if request_of(options) is not None:
                return apply_async(*args, **_without_second_arguments(args, options))
            return foreign.start(apply_async, foreign.job_for(args), args, options)

        patch(controller.pool, "apply_async", apply)

    def running(self, requests: Iterable[Any]) -> list[Any]:
        """Return those of *requests* that run in a child."""
        buffered = self._controller.pool._pool.outbound_buffer  # noqa: SLF001
        jobs = [(request, _job(request)) for request in requests]
        return [request for request, job in jobs if job is not None and job not in buffered]

    def cancel_pending(self, requests: Iterable[Any]) -> list[Any]:
        """Return those of *requests* that were not sent to a child; none of them will start."""
        self._controller.semaphore.clear()
        self._foreign.close()
        pool = self._controller.pool._pool  # noqa: SLF001
        waiting = []
        discarded = []
        for request in requests:
            if request._apply_result is None:  # noqa: SLF001 - not yet given to the pool
                waiting.append(request)
                continue
            job = _job(request)
            if job is not None and job in pool.outbound_buffer:
                pool.outbound_buffer.remove(job)
                job.discard()
                discarded.append(job)
            # A job may be for many requests.
            if job in discarded:
                waiting.append(request)
        return waiting

    def stop(self, requests: Iterable[Any]) -> list[Any]:
        """
        End the children that run *requests*; takes up to `grace` and a second.

        Returns:
            Those that had not finished; no child runs them any more.
        """
        pool = self._controller.pool._pool  # noqa: SLF001
        # A closed pool does not replace dead children.
        self._controller.pool.close()
        jobs = []
        ended: set[str] = set()
        for request in requests:
            job = _job(request)
            if job is not None:
                self._count_success_only(request, job, ended)
                jobs.append((request, job))
        pids = {pid for _, job in jobs for pid in _pids(job)}
        doomed = [process for process in pool._pool if process.pid in pids]  # noqa: SLF001
        for process in doomed:
            process._controlled_termination = True  # noqa: SLF001 - else billiard logs a crash
            _kill(process.pid, signal.SIGQUIT)
        stubborn = _wait(doomed, self._grace)
        for process in stubborn:
            _kill(process.pid, signal.SIGKILL)
        _wait(stubborn, 1.0)
        # Reads the results that dead children have left, then drops the children.
        with suppress(WorkersJoined):
            pool._join_exited_workers(shutdown=True)  # noqa: SLF001
        unfinished = []
        for request, job in jobs:
            if request.id not in ended:
                job.discard()
                unfinished.append(request)
        return unfinished

    def _count_success_only(self, request: Any, job: Any, ended: set[str]) -> None:
        """Let only a success of *job* count, and add its request to *ended* then."""
        foreign = self._foreign.of(request)
        report = job._callback if foreign else request.on_success  # noqa: SLF001

        def on_result(result: Any) -> None:
            # What a task raises because it is stopped is not its result.
            if foreign or not result[0]:
                ended.add(request.id)
                report(result)

        job._callback = on_result  # noqa: SLF001
        job._error_callback = None  # noqa: SLF001


def _without_second_arguments(target: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """
    Return the *options* of a job, without the arguments that the child does not read.

    Celery sends them twice, in the message's body and, decoded, in the request: the child
    decodes the body, and replaces what the request has.
    """
    words = options.get("args")
    if target not in ((trace.fast_trace_task,), (trace.trace_task_ret,)) or not words:
        return options
    name, task_id, request, body, content_type, *rest = words
    if not content_type:
        # It was decoded here, as those of protocol 1 are.
        return options
    request = {key: request[key] for key in request if key not in ("args", "kwargs")}
    return {**options, "args": (name, task_id, request, body, content_type, *rest)}


def _remember_running_jobs(task_pool: Any) -> None:
    """
    Let the tasks that run while the connection is lost report their results.

    Celery flushes the pool then. Up to 5.6 it forgets all jobs, from 5.7 on those that
    no child has said to have accepted. But a child runs what was written to it,
    whether or not its word has been read yet: the task's result would be lost, and its
    message redelivered, though it runs.
    """
    flush = task_pool.flush

    def flush_others() -> None:
        pool = task_pool._pool  # noqa: SLF001
        waiting = set(pool.outbound_buffer)
        sent = {
            number: job
            for number, job in pool._cache.items()  # noqa: SLF001
            if job not in waiting and not job.ready()
        }
        flush()
        pool._cache.update(sent)  # noqa: SLF001
        for job in sent.values():
            process = job._write_to or job._scheduled_for  # noqa: SLF001
            if process is not None and process._is_alive():  # noqa: SLF001
                pool._busy_workers.add(process.inqW_fd)  # noqa: SLF001

    patch(task_pool, "flush", flush_others)


def _job(request: Any) -> Any | None:
    """Return the pool's job of *request*; None if it has ended or never started."""
    reference = request._apply_result  # noqa: SLF001
    job = reference and reference()
    return None if job is None or job.ready() else job


def _pids(job: Any) -> list[int]:
    """Return the process that runs *job*, or that it is written to."""
    if job.worker_pids():
        return list(job.worker_pids())
    process = job._write_to or job._scheduled_for  # noqa: SLF001
    return [] if process is None else [process.pid]


def _wait(processes: list[Any], seconds: float) -> list[Any]:
    """Wait until *processes* have died, *seconds* at most; return those that live."""
    deadline = time.monotonic() + seconds
    alive = [process for process in processes if process._is_alive()]  # noqa: SLF001
    while alive and (left := deadline - time.monotonic()) > 0:
        select.select([process._popen.sentinel for process in alive], [], [], left)  # noqa: SLF001
        alive = [process for process in alive if process._is_alive()]  # noqa: SLF001
    return alive


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
