"""Which tasks run in the gevent pool, and how they are stopped."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from billiard.einfo import ExceptionInfo
from celery.app.trace import TraceInfo
from celery.exceptions import TaskError, TimeLimitExceeded
from celery.states import FAILURE
from celery.worker.state import task_ready
from gevent import GreenletExit

from task_server.worker.foreign_requests import ForeignJobs, request_of
from task_server.worker.patches import patch
from task_server.worker.pools.gevent_limits import Limits, taken_from

logger = logging.getLogger(__name__)

Result = tuple[int, Any, Any]


class GeventTasks:
    """
    The tasks of *controller*, a worker with the gevent pool, and the *foreign* jobs in it.

    Celery takes a killed greenlet for one that succeeded and acknowledges its
    message, and of one that ended by anything else than an Exception it hears
    nothing. So what runs in the pool is wrapped: only a task that was not
    interrupted counts, and whatever a task raises, its request is told.

    Args:
        grace: Seconds that a stopped task has for its `finally` blocks.
    """

    def __init__(self, controller: Any, foreign: ForeignJobs, grace: float) -> None:
        self._pool = controller.pool
        self._grace = grace
        self._foreign = foreign
        self._refused: set[str] = set()
        self._stopping: dict[str, Any] = {}
        self._cancelled: dict[str, tuple[Any, Callable[[Any], None]]] = {}
        _survive_exits()
        _count_places(controller.pool)
        apply_async = controller.pool.apply_async

        def apply(
            target: Callable[..., Any], args: Any = (), kwargs: Any = None, **options: Any
        ) -> Any:
            request = request_of(options)
            if request is None:
                return self._apply_foreign(apply_async, target, args, kwargs, options)
            run = Run(self, request, target, *taken_from(options, controller.pool))
            run.accept = options.get("accept_callback")
            options |= {"accept_callback": run.accepted, "callback": run.ended}
            return apply_async(run, args, kwargs, **options)

        patch(controller.pool, "apply_async", apply)

    def running(self, requests: Iterable[Any]) -> list[Any]:
        """Return those of *requests* whose greenlet runs, its acknowledgement included."""
        return [request for request in requests if _greenlet(request) is not None]

    def withdraw(self, requests: Iterable[Any]) -> list[Any]:
        """Return those of *requests* that have not begun; none of them will."""
        self._foreign.close()
        waiting = []
        for request in requests:
            # Without a result the consumer waits for a free place to spawn it;
            # without a start it is spawned and has not had its turn.
            reference = request._apply_result  # noqa: SLF001
            if reference is None or (_greenlet(request) and request.time_start is None):
                self._refused.add(request.id)
                waiting.append(request)
        return waiting

    def cancel(self, request: Any, give_back: Callable[[Any], None]) -> None:
        """Call *give_back* when the task of *request*, which is about to be killed, has ended."""
        self._cancelled[request.id] = request, give_back

    def stop(self, requests: Iterable[Any]) -> list[Any]:
        """
        Kill the greenlets that run *requests*; takes up to `grace`.

        Returns:
            Those that had not ended by themselves.
        """
        greenlets: list[Any] = []
        acknowledged = {}
        for request in requests:
            greenlet = _greenlet(request)
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
                # It has caught GreenletExit and goes on; the pool would wait for it.
                self._pool._pool.discard(greenlet)  # noqa: SLF001
        unfinished = list(self._stopping.values())
        for request in unfinished:
            # Celery has called it a success, see `silence`.
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
        soft, hard = taken_from(options, self._pool)
        uuids = [request.id for request in job.requests]

        def run(*given: Any, **named: Any) -> Any:
            if any(self.refuses(uuid) for uuid in uuids):
                job.over = True
                raise GreenletExit
            limits = Limits(soft, hard, None)
            try:
                with limits:
                    result = target(*given, **named)
            except BaseException as error:
                if isinstance(error, GreenletExit) or any(map(self.is_stopping, uuids)):
                    job.over = True
                    raise GreenletExit from error
                over = error is limits.over
                self._foreign.failed(job, TimeLimitExceeded(hard) if over else error)
                return None
            for uuid in uuids:
                self.has_ended(uuid)
            return result

        return self._foreign.start(apply_async, job, (run, args, kwargs), options)

    def refuses(self, uuid: str) -> bool:
        """Whether the task *uuid* was withdrawn."""
        return uuid in self._refused

    def is_stopping(self, uuid: str) -> bool:
        """Whether the task *uuid* was interrupted: what it makes of that is not its result."""
        return uuid in self._stopping or uuid in self._cancelled

    def has_ended(self, uuid: str) -> None:
        """Take note that the task *uuid* has ended by itself."""
        self._stopping.pop(uuid, None)
        self._cancelled.pop(uuid, None)

    def silence(self, uuid: str) -> None:
        """Have Celery, which is about to call the task *uuid* a success, tell nobody."""
        request = self._stopping.get(uuid)
        if request is not None:
            request.acknowledged = True
            request.eventer = None
        if uuid in self._cancelled:
            request, give_back = self._cancelled.pop(uuid)
            request.eventer = None
            give_back(request)


class Run:
    """One run of *request* by *target*, Celery's function for it, within limits in seconds."""

    def __init__(
        self,
        tasks: GeventTasks,
        request: Any,
        target: Callable[..., Any],
        soft: float | None,
        hard: float | None,
    ) -> None:
        self._tasks = tasks
        self._request = request
        self._target = target
        self._soft = soft
        self._hard = hard
        self._over = False
        self._unbegun = False
        self.accept: Callable[..., None] | None = None

    def accepted(self, *details: Any) -> None:
        """Tell the request that its task begins; if that fails, its message goes back."""
        try:
            if self.accept is not None:
                self.accept(*details)
        except Exception as error:  # noqa: BLE001 - the greenlet ends with it, whatever it is
            request = self._request
            logger.error("%s[%s] could not begin: %r", request.name, request.id, error)  # noqa: TRY400
            self._unbegun = True
            task_ready(request)
            request.reject(requeue=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        """Run the task in its greenlet; return Celery's (failed, value, seconds)."""
        tasks, uuid = self._tasks, self._request.id
        if self._unbegun or tasks.refuses(uuid):
            raise GreenletExit
        limits = Limits(self._soft, self._hard, self._on_soft_limit)
        try:
            with limits:
                result: Result = self._target(*args, **kwargs)
        except GreenletExit:
            tasks.silence(uuid)
            raise
        except BaseException as error:
            if tasks.is_stopping(uuid):
                tasks.silence(uuid)
                raise GreenletExit from error
            result = self._failed(error, limits)
        failed = result[0]
        if failed and tasks.is_stopping(uuid):
            tasks.silence(uuid)
            raise GreenletExit
        tasks.has_ended(uuid)
        return result

    def ended(self, result: Any) -> None:
        """
        Tell the request of its *result*, and see to it that it hears of one.

        Whatever is not told holds its message and its place for as long as the worker lives.
        """
        if self._unbegun:
            return
        failed = result[0]
        if failed and isinstance(getattr(result[1], "exception", None), MemoryError):
            # The failure is stored. Celery takes it for the end of a child, raises it
            # once more, and acknowledges nothing.
            result = 1, _described(TaskError(f"the task raised {result[1].exception!r}")), 0.0
        try:
            if self._over:
                self._request.on_timeout(False, self._hard)
            else:
                self._request.on_success(result)
        except Exception as error:
            if self._request.acknowledged:
                raise
            self._request.on_success(self._lost(error))

    def _failed(self, error: BaseException, limits: Limits) -> Result:
        """Return the result of a task whose *error* Celery did not make one of."""
        if error is limits.over:
            self._over = True
            return 1, None, 0.0
        if isinstance(error, Exception) and not isinstance(error, MemoryError):
            return self._lost(error)
        try:
            return 1, self._store(error), 0.0
        except Exception as refusal:  # noqa: BLE001 - whatever it is, the greenlet ends with it
            return self._lost(refusal)

    def _store(self, error: BaseException) -> Any:
        """Store the failure of a task that *error* has left: a prefork child would be gone."""
        request = self._request
        task, context = request.task, request._context  # noqa: SLF001 - as Celery's own requests do
        task.request_stack.push(context)
        try:
            raise TaskError(f"the task raised {error!r}") from error  # noqa: TRY301 - for its traceback
        except TaskError as failure:
            return TraceInfo(FAILURE, failure).handle_error_state(task, context)
        finally:
            task.request_stack.pop()

    def _lost(self, error: Exception) -> Result:
        """
        Return the result of a task whose result backend has refused the result, and the failure.

        A prefork child reports it to the main process, which acknowledges; here nobody would
        be told, and the message would be held for as long as the worker lives.
        """
        name, uuid = self._request.name, self._request.id
        logger.error("%s[%s]: its result is lost: %r", name, uuid, error)
        return 1, _described(error), 0.0

    def _on_soft_limit(self) -> None:
        self._request.on_timeout(True, self._soft)


def _count_places(pool: Any) -> None:
    """
    Let `num_processes` of *pool* be its places, as from Celery 5.7 on.

    Up to 5.6 it is the tasks that run: with `worker_disable_prefetch` none ever began.
    """
    kind = type(pool)

    def places(self: Any) -> int:
        return int(self.limit if self._pool is None else self._pool.size)

    patch(kind, "num_processes", property(places))


def _survive_exits() -> None:
    """
    Let a SystemExit in a greenlet end that greenlet, as it ends a thread.

    gevent raises it in the main one, which is Celery's loop: the worker would end
    by what a task has spawned.
    """
    patch(gevent.get_hub(), "SYSTEM_ERROR", ())


def _described(error: Exception) -> Any:
    try:
        raise error
    except type(error):
        return ExceptionInfo()


def _greenlet(request: Any) -> Any | None:
    """Return the greenlet of *request*; None if it has ended or is not spawned."""
    reference = request._apply_result  # noqa: SLF001
    greenlet = reference and reference()
    return None if greenlet is None or greenlet.dead else greenlet
