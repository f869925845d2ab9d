"""
What a worker does with messages that are its own no longer.

It was stopped (SIGSTOP, a suspended machine) or cut off for longer than its
lease, and others have its messages now. It begins none of them; of those that
it runs it says so. Whether one is still its own the atomic transport knows, see
its `lease`.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from celery.exceptions import TaskRevokedError
from celery.worker import state as worker_state
from kombu.transport import virtual
from redis.exceptions import RedisError

from task_server.worker.patches import patch

logger = logging.getLogger(__name__)

state: Any = worker_state

#: Seconds between two tries to begin what may be others', prefork's loop waiting meanwhile.
PAUSE = 0.05


class Leases:
    """
    The requests of this worker, as their leases have it.

    Args:
        received: The requests that are received and not acknowledged.
    """

    def __init__(self, received: Iterable[Any]) -> None:
        self._received = received
        self._controller: Any = None
        self._channel: Any = None

    def attach(self, channel: Any) -> None:
        """Ask *channel*, which is about to consume."""
        self._channel = channel

    def guard(self, controller: Any) -> None:
        """Let the pool of *controller* begin no task whose message is another's."""
        self._controller = controller
        apply_async, is_green = controller.pool.apply_async, controller.pool.is_green

        def apply(*args: Any, accept_callback: Any = None, **kwargs: Any) -> Any:
            request: Any = getattr(accept_callback, "__self__", None)
            if not hasattr(request, "message"):
                return apply_async(*args, accept_callback=accept_callback, **kwargs)
            if is_green:
                # It may wait there for a place, and asks when it has one.
                accept_callback = self._asking(request, accept_callback)
            elif not self._may_begin(request):
                self._forget(request)
                # As Celery does with a task that was revoked: its place is free.
                raise TaskRevokedError(request.id)
            return apply_async(*args, accept_callback=accept_callback, **kwargs)

        patch(controller.pool, "apply_async", apply)

    def guard_writes(self, hub: Any) -> None:
        """
        Let no child get a task that waits in the main process and may be another's.

        The pool registers its own callback after this, at each connection; so it is wrapped
        when the loop turns.
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

    def _asking(self, request: Any, accept: Any) -> Callable[..., None]:
        """Return *accept* for a greenlet, which asks before it begins."""

        def accepted(*args: Any) -> None:
            if not self._may_begin(request):
                # gevent is imported where it is the pool, and nowhere else.
                from gevent import GreenletExit  # noqa: PLC0415

                self._forget(request)
                raise GreenletExit
            accept(*args)

        # Others look whose method it is.
        accepted.__self__ = request  # type: ignore[attr-defined]
        return accepted

    def _may_begin(self, request: Any) -> bool:
        if request.acknowledged:
            # Given back, or acknowledged early; the pool decides as ever.
            return not getattr(request, "is_forgotten", False)
        qos = getattr(request.message.channel, "qos", None)
        may_start = getattr(qos, "may_start", None)
        return may_start is None or bool(may_start(request.message.delivery_tag))

    def _forget(self, request: Any) -> None:
        """Have Celery forget *request*, which does not begin; its message is left alone."""
        if not getattr(request, "is_forgotten", False):
            request.is_forgotten = request.acknowledged = True
            qos, tag = request.message.channel.qos, request.message.delivery_tag
            virtual.QoS.ack(qos, tag)
            logger.warning(
                "%s[%s] does not begin: this worker was stopped, or cut off, for longer than its "
                "lease, and another has it or will have it",
                *(request.name, request.id),
            )
        state.task_ready(request)

    def on_lost(self, tags: Collection[str]) -> set[str]:
        """Deal with the messages of *tags*, which others have; return those that do not begin."""
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
                    "%s[%s] lost its lease while it was running: this worker was stopped, or cut "
                    "off, for too long, and another may run it as well",
                    *(request.name, request.id),
                )
        return forgotten

    def _is_waiting(self, request: Any) -> bool:
        """Return whether *request* has not begun; take it from those that a child would get."""
        reference = request._apply_result  # noqa: SLF001 - Celery says it nowhere else
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
