"""The gevent pool: its process, which tasks run in it, and how they are stopped."""

import logging
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from celery import signals
from celery.exceptions import TimeLimitExceeded
from gevent import GreenletExit

from task_server.errors import ConfigError
from task_server.launch.spec import WorkerSpec
from task_server.worker.broker import started
from task_server.worker.broker.quarantine import Quarantine
from task_server.worker.foreign_requests import PoolJobs, request_of
from task_server.worker.patching import patch
from task_server.worker.pools import gevent_loop, memory
from task_server.worker.pools.base import WorkerParts
from task_server.worker.pools.gevent_limits import Limits, pop_limits
from task_server.worker.pools.gevent_names import resolve_at_once
from task_server.worker.pools.gevent_run import Run
from task_server.worker.pools.gevent_waiting import Waiting, greenlet_of, is_pending
from task_server.worker.shutdown.drain import Drain
from task_server.worker.status.heartbeat import HeartbeatWriter

logger = logging.getLogger(__name__)

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING}


def prepare(spec: WorkerSpec, heartbeat: HeartbeatWriter) -> None:
    """Prepare the process of the worker *spec*, whose greenlets share connections."""
    memory.freeze_after_imports()
    resolve_at_once(spec.resolver_threads, spec.concurrency)
    signals.worker_init.connect(_limit_connections(heartbeat, spec), weak=False)
    if spec.asyncio == "per-task":
        grace = spec.timing.cancel_grace
        signals.worker_init.connect(_install_event_loops(grace), weak=False)


def attach(parts: WorkerParts) -> tuple["GeventTasks", Quarantine]:
    """Patch the pool, and start the greenlets that stand in for Celery's event loop."""
    signal.signal(signal.SIGUSR1, gevent_loop.show_stacks)
    pool = parts.controller.pool
    quarantine = gevent_loop.quarantine_in_greenlet(parts.start)
    tasks = GeventTasks(parts.controller, parts.foreign, quarantine, parts.timing.stop_grace)
    started.report_in_greenlets(pool, quarantine)
    gevent_loop.start(parts.drain, parts.write, parts.write_interval, parts.timing.green_drain_tick)
    return tasks, quarantine


def connect(consumer: Any, drain: Drain) -> Callable[[], None]:
    """Renew leases while the consumer's loop waits, and end its poll when *drain* is done."""
    renewer = gevent_loop.LeaseRenewer(consumer.connection)
    gevent_loop.end_poll_when_drained(consumer.connection, drain)
    return renewer.stop


def _install_event_loops(grace: float) -> Callable[..., None]:
    """Return the receiver of `worker_init` that gives each task its own event loop."""

    def install(**_: Any) -> None:
        # Only where it is wanted: it replaces parts of asyncio and asgiref.
        from task_server.worker.pools import gevent_asyncio  # noqa: PLC0415

        gevent_asyncio.install(grace)

    return install


def _limit_connections(heartbeat: HeartbeatWriter, spec: WorkerSpec) -> Callable[..., None]:
    """Return the receiver of `worker_init`, which comes when Django is set up."""

    def bound(**_: Any) -> None:
        # It imports Django, which is set up by now.
        from task_server.worker.database.install import install_pool  # noqa: PLC0415

        try:
            installed = install_pool(
                spec.database_connections,
                max_age=spec.database_max_age,
                max_idle=spec.database_max_idle,
            )
        except ConfigError as error:
            # Celery logs what a receiver raises and goes on: into a worker that blocks.
            print(f"Error: {error}", file=sys.stderr)
            raise SystemExit(error.exit_code) from error
        heartbeat.watch_database(installed.pool)
        for finding in installed.findings:
            logger.log(_LEVELS[finding.level], "%s: %s", finding.setting, finding.message)

    return bound


class GeventTasks:
    """
    The tasks of *controller*, a worker with the gevent pool, and the *foreign* jobs in it.

    Celery takes a killed greenlet for a success and acknowledges its message, and does
    not notice one that ends by anything but an Exception. So what runs in the pool is
    wrapped: only a task that was not interrupted counts, and its request gets a result
    whatever the task raises.

    Args:
        quarantine: Some of them wait there.

        grace: Seconds that a stopped task has for its `finally` blocks.

    Attributes:
        waiting: Those that can be handed back.
    """

    def __init__(
        self, controller: Any, foreign: PoolJobs, quarantine: Quarantine, grace: float
    ) -> None:
        self._pool = controller.pool
        self._grace = grace
        self._foreign = foreign
        self._refused: set[str] = set()
        self.waiting = Waiting(foreign, quarantine)
        self._stopping: dict[str, Any] = {}
        self._cancelled: dict[str, tuple[Any, Callable[[Any], None]]] = {}
        _survive_exits()
        _report_capacity(controller.pool)
        apply_async = controller.pool.apply_async

        def apply(
            target: Callable[..., Any], args: Any = (), kwargs: Any = None, **options: Any
        ) -> Any:
            request = request_of(options)
            if request is None:
                return self._apply_foreign(apply_async, target, args, kwargs, options)
            run = Run(self, request, target, *pop_limits(options, controller.pool))
            run.accept = options.get("accept_callback")
            options |= {"accept_callback": run.accepted, "callback": run.ended}
            return self.waiting.spawn(request, lambda: apply_async(run, args, kwargs, **options))

        patch(controller.pool, "apply_async", apply)

    def running(self, requests: Iterable[Any]) -> list[Any]:
        """Return those of *requests* whose greenlet runs, its acknowledgement included."""
        return [request for request in requests if greenlet_of(request) is not None]

    def cancel_pending(self, requests: Iterable[Any]) -> list[Any]:
        """Return those of *requests* that have not started; none of them will."""
        self._foreign.close()
        waiting = []
        for request in requests:
            if is_pending(request):
                self._refused.add(request.id)
                waiting.append(request)
        return waiting

    def cancel(self, request: Any, requeue: Callable[[Any], None]) -> None:
        """Call *requeue* when the task of *request*, which is about to be killed, has ended."""
        self._cancelled[request.id] = request, requeue

    def stop(self, requests: Iterable[Any]) -> list[Any]:
        """
        Kill the greenlets that run *requests*; takes up to `grace`.

        Returns:
            Those that had not finished.
        """
        greenlets: list[Any] = []
        acknowledged = {}
        for request in requests:
            greenlet = greenlet_of(request)
            if greenlet is not None:
                self._stopping[request.id] = request
                acknowledged[request.id] = request.acknowledged
                greenlets.append(greenlet)
        # One job may be for many.
        greenlets = list(dict.fromkeys(greenlets))
        gevent.killall(greenlets, block=False)
        gevent.joinall(greenlets, timeout=self._grace)
        for greenlet in greenlets:
            if not greenlet.dead:
                # It caught GreenletExit and continues; the pool would wait for it.
                self._pool._pool.discard(greenlet)  # noqa: SLF001
        unfinished = list(self._stopping.values())
        for request in unfinished:
            # For Celery it was a success, see `silence`.
            request.acknowledged = acknowledged[request.id]
        return unfinished

    def _apply_foreign(
        self,
        apply_async: Callable[..., Any],
        target: Callable[..., Any],
        args: Any,
        kwargs: Any,
        options: dict[str, Any],
    ) -> Any:
        """Run *target*, which is none of Celery's requests, as a job of the pool."""
        job = self._foreign.job_for((args, kwargs))
        soft, hard = pop_limits(options, self._pool)
        uuids = [request.id for request in job.requests]

        def run(*given: Any, **named: Any) -> Any:
            if any(self.refuses(uuid) for uuid in uuids):
                job.finished = True
                raise GreenletExit
            limits = Limits(soft, hard, None)
            try:
                with limits:
                    result = target(*given, **named)
            except BaseException as error:
                if isinstance(error, GreenletExit) or any(map(self.is_stopping, uuids)):
                    job.finished = True
                    raise GreenletExit from error
                over = error is limits.over
                self._foreign.failed(job, TimeLimitExceeded(hard) if over else error)
                return None
            for uuid in uuids:
                self.has_ended(uuid)
            return result

        return self._foreign.start(apply_async, job, (run, args, kwargs), options)

    def refuses(self, uuid: str) -> bool:
        """Whether the task *uuid* was cancelled before it started."""
        return uuid in self._refused

    def is_stopping(self, uuid: str) -> bool:
        """Whether the task *uuid* was interrupted: what it does then is not its result."""
        return uuid in self._stopping or uuid in self._cancelled

    def has_ended(self, uuid: str) -> None:
        """Record that the task *uuid* has finished."""
        self._stopping.pop(uuid, None)
        self._cancelled.pop(uuid, None)

    def silence(self, uuid: str) -> None:
        """Keep Celery, which takes the task *uuid* for a success, from acknowledging it."""
        request = self._stopping.get(uuid)
        if request is not None:
            request.acknowledged = True
            request.eventer = None
        if uuid in self._cancelled:
            request, requeue = self._cancelled.pop(uuid)
            request.eventer = None
            requeue(request)


def _report_capacity(pool: Any) -> None:
    """
    Let `num_processes` of *pool* be its capacity, as from Celery 5.7 on.

    Up to 5.6 it is the number of running tasks: with `worker_disable_prefetch` none starts.
    """
    kind = type(pool)

    def capacity(self: Any) -> int:
        return int(self.limit if self._pool is None else self._pool.size)

    patch(kind, "num_processes", property(capacity))


def _survive_exits() -> None:
    """
    Let a SystemExit in a greenlet end that greenlet, as it ends a thread.

    gevent raises it in the main greenlet, Celery's loop: what a task spawned would
    end the worker.
    """
    patch(gevent.get_hub(), "SYSTEM_ERROR", ())
