"""Which tasks run in the gevent pool, and how they are stopped."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from billiard.einfo import ExceptionInfo
from gevent import GreenletExit

logger = logging.getLogger(__name__)

#: Seconds a stopped task has for its `finally` blocks.
GRACE = 2.0


class GeventTasks:
    """
    The tasks of *controller*, a worker with the gevent pool.

    Celery takes a killed greenlet for one that succeeded and acknowledges its
    message. So what runs in the pool is wrapped: only a task that was not
    interrupted counts.
    """

    def __init__(self, controller: Any) -> None:
        self._pool = controller.pool
        self._refused: set[str] = set()
        self._stopping: dict[str, Any] = {}
        apply_async = controller.pool.apply_async

        def apply(target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return apply_async(self._guard(target), *args, **kwargs)

        controller.pool.apply_async = apply

    def running(self, requests: Iterable[Any]) -> list[Any]:
        """Return those of *requests* whose greenlet runs, its acknowledgement included."""
        return [request for request in requests if _greenlet(request) is not None]

    def withdraw(self, requests: Iterable[Any]) -> list[Any]:
        """Return those of *requests* that have not begun; none of them will."""
        waiting = []
        for request in requests:
            # Without a result the consumer waits for a free place to spawn it;
            # without a start it is spawned and has not had its turn.
            reference = request._apply_result  # noqa: SLF001
            if reference is None or (_greenlet(request) and request.time_start is None):
                self._refused.add(request.id)
                waiting.append(request)
        return waiting

    def stop(self, requests: Iterable[Any]) -> list[Any]:
        """
        Kill the greenlets that run *requests*; takes up to `GRACE`.

        Returns:
            Those that had not ended by themselves.
        """
        greenlets = []
        acknowledged = {}
        for request in requests:
            greenlet = _greenlet(request)
            if greenlet is not None:
                self._stopping[request.id] = request
                acknowledged[request.id] = request.acknowledged
                greenlets.append(greenlet)
        gevent.killall(greenlets, block=False)
        gevent.joinall(greenlets, timeout=GRACE)
        for greenlet in greenlets:
            if not greenlet.dead:
                # It has caught GreenletExit and goes on; the pool would wait for it.
                self._pool._pool.discard(greenlet)  # noqa: SLF001
        unfinished = list(self._stopping.values())
        for request in unfinished:
            # Celery has called it a success, see `_silence`.
            request.acknowledged = acknowledged[request.id]
        return unfinished

    def _guard(self, target: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap *target*, Celery's function that runs one task."""

        def guarded(name: str, uuid: str, *args: Any, **kwargs: Any) -> Any:
            if uuid in self._refused:
                raise GreenletExit
            try:
                result = target(name, uuid, *args, **kwargs)
            except GreenletExit:
                self._silence(uuid)
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the greenlet ends with it
                # The result backend has refused the result and then the
                # failure. A prefork child reports it to the main process,
                # which acknowledges; here nobody would be told, and the
                # message would be held for as long as the worker lives.
                logger.error("%s[%s]: its result is lost: %r", name, uuid, error)  # noqa: TRY400 - Celery has logged it
                result = 1, ExceptionInfo(), 0.0
            failed = result[0]
            if failed and uuid in self._stopping:
                # What a task makes of GreenletExit is not its result.
                self._silence(uuid)
                raise GreenletExit
            self._stopping.pop(uuid, None)
            return result

        return guarded

    def _silence(self, uuid: str) -> None:
        """Have Celery, which is about to call the task *uuid* a success, tell nobody."""
        request = self._stopping.get(uuid)
        if request is not None:
            request.acknowledged = True
            request.eventer = None


def _greenlet(request: Any) -> Any | None:
    """Return the greenlet of *request*; None if it has ended or is not spawned."""
    reference = request._apply_result  # noqa: SLF001
    greenlet = reference and reference()
    return None if greenlet is None or greenlet.dead else greenlet
