"""One run of a task in its greenlet, whose request gets a result however the task ends."""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from billiard.einfo import ExceptionInfo
from celery.app.trace import TraceInfo
from celery.exceptions import TaskError
from celery.states import FAILURE
from celery.worker.state import task_ready
from gevent import GreenletExit

from task_server.worker.pools.gevent_limits import Limits
from task_server.worker.pools.gevent_waiting import Waiting

logger = logging.getLogger(__name__)

Result = tuple[int, Any, Any]


class Interruptions(Protocol):
    """What is cancelled, stopped or silenced of the pool's tasks, by their ids."""

    waiting: Waiting

    def refuses(self, uuid: str) -> bool: ...
    def is_stopping(self, uuid: str) -> bool: ...
    def has_ended(self, uuid: str) -> None: ...
    def silence(self, uuid: str) -> None: ...


class Run:
    """One run of *request* by *target*, Celery's function for it, within limits in seconds."""

    def __init__(
        self,
        tasks: Interruptions,
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
        self._not_started = False
        self.accept: Callable[..., None] | None = None

    def accepted(self, *details: Any) -> None:
        """Accept the request, as Celery does; if that fails, requeue its message."""
        if self._tasks.waiting.is_withdrawn(self._request):
            self._not_started = True
            return
        try:
            if self.accept is not None:
                self.accept(*details)
        except Exception as error:  # noqa: BLE001 - the greenlet ends with it, whatever it is
            request = self._request
            logger.error("%s[%s] could not start: %r", request.name, request.id, error)  # noqa: TRY400
            self._not_started = True
            task_ready(request)
            request.reject(requeue=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        """Run the task in its greenlet; return Celery's (failed, value, seconds)."""
        tasks, uuid = self._tasks, self._request.id
        if self._not_started or tasks.refuses(uuid):
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
        Pass *result* to the request, or another if that fails.

        A request without a result keeps its message and its slot until the worker exits.
        """
        if self._not_started:
            return
        failed = result[0]
        if failed and isinstance(getattr(result[1], "exception", None), MemoryError):
            # The failure is stored. Celery takes a MemoryError for the end of a child,
            # raises it again, and acknowledges nothing.
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
        """Return the result of a task whose *error* Celery has not handled."""
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
        """Store the failure of a task that raised *error*, which would end a prefork child."""
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
        Return the result of a task whose result backend refused the result, and the failure.

        A prefork child reports it to the main process, which acknowledges; here nothing would
        report it, and the message would stay unacknowledged until the worker exits.
        """
        name, uuid = self._request.name, self._request.id
        logger.error("%s[%s]: its result is lost: %r", name, uuid, error)
        return 1, _described(error), 0.0

    def _on_soft_limit(self) -> None:
        self._request.on_timeout(True, self._soft)


def _described(error: Exception) -> Any:
    try:
        raise error
    except type(error):
        return ExceptionInfo()
