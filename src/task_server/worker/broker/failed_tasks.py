"""
Failed tasks are kept: each whose retries ran out, or that failed without any.

Celery's request knows that its task failed, and what follows: its message is acknowledged,
or goes back to its queue. A failure is kept when the message is done with, just before it is
acknowledged: one whose message goes back is none yet, since the task runs again.

Nothing is done while nothing fails. A failure is written at once, and those of the next
moment together: a flood of them takes a call each moment. Only the atomic transport, whose
QoS tells when, keeps any.
"""

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Final

from celery import signals
from celery.exceptions import TaskPredicate, Terminated, TimeLimitExceeded
from celery.worker import request as celery_request
from redis.exceptions import RedisError

from task_server.transport.store import failed_tasks
from task_server.transport.store.failed_tasks import Limits
from task_server.transport.store.problems import repair
from task_server.transport.store.rights import is_refusal
from task_server.worker.broker.failed_record import Error, record_of
from task_server.worker.patching import patch
from task_server.worker.worker_lost import LOST, error_of

logger = logging.getLogger(__name__)

#: Seconds between two writes; those that come earlier wait, and go together.
MOMENT: Final = 0.05

#: Seconds until the next attempt when Redis does not answer, or refuses.
RETRY: Final = 5.0

#: Failures, and their bytes, that go at once.
FULL: Final = 200
FULL_BYTES: Final = 1 << 20

#: Failures, and their bytes, that wait for Redis at most; the oldest are dropped.
MOST_WAITING: Final = 2_000
MOST_BYTES: Final = 8 << 20


class FailedTasks:
    """
    The failed tasks of one worker.

    Args:
        limits: What is kept.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[tuple[str, str]] = deque()
        self._bytes = 0
        self._dropped = 0
        self._last = -MOMENT
        self._pause = MOMENT
        self._is_scheduled = False
        self._logged: set[str] = set()
        #: Of requests whose process was lost, by id: what the signal says they failed with.
        self._lost: dict[str, Error | None] = {}
        self._channel: Any = None
        self._timer: Any = None

    def install(self) -> None:
        """Learn from Celery's requests what fails; not if nothing is to be kept."""
        if not self._limits:
            return
        request: Any = celery_request.Request
        on_failure, on_timeout = request.on_failure, request.on_timeout
        expect = self._expect

        def failed(self: Any, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
            exception = error_of(exc_info)
            error = Error(exception, exc_info.type, exc_info.traceback)
            afterwards = expect(self, error)
            try:
                return on_failure(self, exc_info, *args, **kwargs)
            finally:
                if afterwards is not None:
                    afterwards()

        def timed_out(self: Any, soft: bool, timeout: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: FBT001 - Celery's shape
            # In prefork `on_failure` has come before.
            afterwards = None if soft else expect(self, Error(TimeLimitExceeded(timeout)))
            try:
                return on_timeout(self, soft, timeout, *args, **kwargs)
            finally:
                if afterwards is not None:
                    afterwards()

        patch(request, "on_failure", failed)
        patch(request, "on_timeout", timed_out)
        signals.task_failure.connect(self._on_failure, weak=False)

    def attach(self, consumer: Any) -> None:
        """Write through the new connection of *consumer*."""
        self._channel, self._timer = consumer.task_consumer.channel, consumer.timer
        self._is_scheduled = False
        if self._waiting:
            self._schedule(MOMENT)

    def detach(self) -> None:
        """Write what waits, if that is possible; the connection is lost, or no longer needed."""
        self.flush()
        self._channel = self._timer = None

    def _expect(self, request: Any, error: Error) -> Callable[[], None] | None:
        try:
            return self._expected(request, error)
        except Exception:
            logger.exception("the failure of %s[%s] is not kept", request.name, request.id)
            return None

    def _expected(self, request: Any, error: Error) -> Callable[[], None] | None:
        """
        Keep the task of *request* when its message is acknowledged or dropped.

        Returns:
            What to call when Celery has dealt with the failure.
        """
        exception, task = error.exception, request.task
        # Ignore, Reject and Retry; revoked; an error that the task declares with `throws`.
        if isinstance(exception, TaskPredicate | Terminated):
            return None
        if task.throws and isinstance(exception, task.throws):
            return None
        before_ack = getattr(getattr(request.message.channel, "qos", None), "before_ack", None)
        if before_ack is None or getattr(request, "has_failed", False):
            return None
        if isinstance(exception, LOST):
            # Only Celery knows whether it runs again, has succeeded, or has failed.
            self._lost[request.id] = None
            return partial(self._keep_lost, request)
        request.has_failed = True
        keep = partial(self._keep, request, error)
        if not task.acks_late or request.acknowledged:
            return keep
        before_ack[request.message.delivery_tag] = keep
        return None

    def _on_failure(self, task_id: str, exception: Any, einfo: Any = None, **_: Any) -> None:
        if task_id in self._lost:
            kind, traceback = getattr(einfo, "type", None), getattr(einfo, "traceback", "")
            self._lost[task_id] = Error(exception, kind, traceback)

    def _keep_lost(self, request: Any) -> None:
        error = self._lost.pop(request.id, None)
        if error is not None:
            self._keep(request, error)

    def _keep(self, request: Any, error: Error) -> None:
        """Write that the task of *request* failed; nothing is raised."""
        channel = self._channel or request.message.channel
        try:
            name, record = record_of(request, error, channel.unacked.store.keys)
        except Exception:
            logger.exception("the failure of %s[%s] is not kept", request.name, request.id)
            return
        self._waiting.append((name, record))
        self._bytes += len(record)
        now, pause = monotonic(), self._pause
        if now - self._last >= pause or (pause == MOMENT and self._is_full):
            self.flush()
        else:
            self._schedule(pause)

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= FULL or self._bytes >= FULL_BYTES

    def _schedule(self, seconds: float) -> None:
        if not self._is_scheduled and self._timer is not None:
            self._is_scheduled = True
            self._timer.call_after(seconds, self._due)

    def _due(self) -> None:
        self._is_scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write what waits; what Redis does not take is kept for later. Nothing is raised."""
        if not self._waiting or self._channel is None:
            self._drop_excess()
            return
        store = self._channel.unacked.store
        taken, self._waiting, self._bytes = self._waiting, deque(), 0
        self._last, self._pause = monotonic(), MOMENT
        try:
            failed_tasks.keep(store.client, store.keys, self._limits, taken)
        except (RedisError, OSError, *store.connection_errors) as error:
            self._pause = RETRY
            if is_refusal(error) or "WRONGTYPE" in str(error):
                self._log(f"{len(taken)} failed tasks are not kept", store.keys.failed, error)
                return
            self._log("failed tasks are kept later", store.keys.failed, error)
            self._waiting.extendleft(reversed(taken))
            self._bytes += sum(len(record) for _, record in taken)
            self._drop_excess()
            self._schedule(RETRY)
        else:
            self._logged.clear()

    def _drop_excess(self) -> None:
        dropped = 0
        while len(self._waiting) > MOST_WAITING or self._bytes > MOST_BYTES:
            self._bytes -= len(self._waiting.popleft()[1])
            dropped += 1
        if dropped and not self._dropped:
            logger.warning("Redis takes no failed tasks: the oldest of those that wait are dropped")
        self._dropped += dropped

    def _log(self, words: str, key: str, error: Exception) -> None:
        """Log *error* once, until Redis takes failures again."""
        level = logging.DEBUG if str(error) in self._logged else logging.WARNING
        if len(self._logged) < MOST_WAITING:
            self._logged.add(str(error))
        logger.log(level, "%s (%s): %s; %s", words, key, error, repair(key, error))
