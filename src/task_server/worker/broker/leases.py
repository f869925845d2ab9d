"""
What a worker does with messages whose lease has expired.

It was stopped (SIGSTOP, a suspended machine) or disconnected for longer than its
lease, and other workers have its messages now. It starts none of them, and logs
those that it runs. The atomic transport knows which leases are lost, see its `leases`.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from celery.exceptions import TaskRevokedError
from celery.worker import state as worker_state
from kombu.transport import virtual
from redis.exceptions import RedisError

from task_server.worker.patching import patch

logger = logging.getLogger(__name__)

state: Any = worker_state

#: Seconds between two checks of leases that may have expired; prefork's loop waits meanwhile.
PAUSE = 0.05


class Leases:
    """
    Lets only requests start whose lease is valid.

    Args:
        received: The requests that are received and not acknowledged.
    """

    def __init__(self, received: Iterable[Any]) -> None:
        self._received = received
        self._controller: Any = None
        self._channel: Any = None

    def attach(self, channel: Any) -> None:
        """Use *channel*, which is about to consume."""
        self._channel = channel

    def guard(self, controller: Any) -> None:
        """Let the pool of *controller* start no task whose lease was lost."""
        self._controller = controller
        apply_async, is_green = controller.pool.apply_async, controller.pool.is_green

        def apply(*args: Any, accept_callback: Any = None, **kwargs: Any) -> Any:
            request: Any = getattr(accept_callback, "__self__", None)
            if not hasattr(request, "message"):
                return apply_async(*args, accept_callback=accept_callback, **kwargs)
            if is_green:
                # It may wait there for a slot, and is checked when it has one.
                accept_callback = self._checking(request, accept_callback)
            elif not self._may_start(request):
                self._forget(request)
                # As Celery does with a revoked task: its slot is freed.
                raise TaskRevokedError(request.id)
            return apply_async(*args, accept_callback=accept_callback, **kwargs)

        patch(controller.pool, "apply_async", apply)

    def guard_writes(self, hub: Any) -> None:
        """
        Send no task to a child whose lease may have expired in the main process.

        The pool sets its callback after this, at each connection; so it is wrapped in the
        loop's next turn.
        """
        hub.call_soon(self._guard_writes, hub)

    def _guard_writes(self, hub: Any) -> None:
        schedule_writes = hub.consolidate_callback

        def certain_writes(*args: Any, **kwargs: Any) -> None:
            if self._is_certain():
                schedule_writes(*args, **kwargs)
            else:
                # The children's pipes stay writable, and the loop would spin.
                time.sleep(PAUSE)

        if schedule_writes is not None:
            patch(hub, "consolidate_callback", certain_writes)

    def _is_certain(self) -> bool:
        settle = getattr(self._channel, "settle", None)
        if settle is None:
            return True
        try:
            return bool(settle())
        except (RedisError, OSError):
            return False

    def _checking(self, request: Any, accept: Any) -> Callable[..., None]:
        """Return *accept* for a greenlet, which checks the lease before it starts."""

        def accepted(*args: Any) -> None:
            if not self._may_start(request):
                # gevent is imported where it is the pool, and nowhere else.
                from gevent import GreenletExit  # noqa: PLC0415

                self._forget(request)
                raise GreenletExit
            accept(*args)

        # Other wrappers read whose method it is.
        accepted.__self__ = request  # type: ignore[attr-defined]
        return accepted

    def _may_start(self, request: Any) -> bool:
        if request.acknowledged:
            # Requeued, or acknowledged early; the pool decides as usual.
            return not getattr(request, "is_forgotten", False)
        qos = getattr(request.message.channel, "qos", None)
        may_start = getattr(qos, "may_start", None)
        return may_start is None or bool(may_start(request.message.delivery_tag))

    def _forget(self, request: Any) -> None:
        """Have Celery drop *request*, which does not start, without touching its message."""
        if not getattr(request, "is_forgotten", False):
            request.is_forgotten = request.acknowledged = True
            qos, tag = request.message.channel.qos, request.message.delivery_tag
            virtual.QoS.ack(qos, tag)
            logger.warning(
                "%s[%s] does not start: this worker was stopped or disconnected for longer than "
                "its lease, and another worker has it or will have it",
                *(request.name, request.id),
            )
        state.task_ready(request)

    def on_lost(self, tags: Collection[str]) -> set[str]:
        """Drop the messages of *tags*, which others have; return those that do not start."""
        forgotten: set[str] = set()
        if not tags or self._controller is None:
            return forgotten
        for request in list(self._received):
            tag = request.message.delivery_tag
            if tag not in tags:
                continue
            if self._is_waiting(request):
                self._forget(request)
                forgotten.add(tag)
            else:
                logger.warning(
                    "%s[%s] lost its lease while it was running: this worker was stopped or "
                    "disconnected for too long, and another may run it as well",
                    *(request.name, request.id),
                )
        return forgotten

    def _is_waiting(self, request: Any) -> bool:
        """Return whether *request* has not started; a job for a child is discarded."""
        reference = request._apply_result  # noqa: SLF001 - Celery has no other way
        if reference is None:
            return True
        job = reference()
        if self._controller.pool.is_green:
            return request.time_start is None
        pool = self._controller.pool._pool  # noqa: SLF001 - as above
        if job is None or job not in pool.outbound_buffer:
            return False
        pool.outbound_buffer.remove(job)
        job.discard()
        self._controller.semaphore.release()
        return True
