"""Delivering prefetched messages to the consumers."""

import logging
from collections.abc import Callable
from typing import Any, Final

from task_server.transport.store.client import Store
from task_server.transport.unacked.delivered import Delivered
from task_server.transport.unacked.ownership import Ownership
from task_server.transport.unacked.prefetched import Prefetched

logger: Final = logging.getLogger(__name__)


class Delivery:
    """
    Delivers the prefetched messages of one channel.

    Args:
        can_consume: Whether a consumer has room for one more.

        deliver: Gives a payload to the consumer of a queue.

        move_to_unreadable: Moves the message of a delivery tag, which cannot be
            delivered for a reason, to the unreadable messages.

        is_single: Whether one call delivers one message.
    """

    def __init__(
        self,
        store: Store,
        prefetched: Prefetched,
        delivered: Delivered,
        ownership: Ownership,
        *,
        can_consume: Callable[[], bool],
        deliver: Callable[[Any, str], object],
        move_to_unreadable: Callable[[str, str], None],
        is_single: Callable[[], bool],
    ) -> None:
        self._store = store
        self._prefetched = prefetched
        self._delivered = delivered
        self._ownership = ownership
        self._can_consume = can_consume
        self._deliver = deliver
        self._move_to_unreadable = move_to_unreadable
        self._is_single = is_single

    def deliver(self) -> bool:
        """
        Give messages to the consumers as far as their credit goes; return whether there was one.

        Under an event loop all of them; in `drain_events` one, which is what its
        callers expect of one call.
        """
        prefetched, registered = self._prefetched, self._delivered.registered
        size = self._delivered.size
        if prefetched and not self._ownership.settle():
            return False
        is_single = self._is_single()
        count = 0
        while prefetched and self._can_consume() and not (is_single and count):
            message = prefetched[0]
            tag = message.delivery_tag
            count += 1
            # Before it leaves the other place: the thread that renews leases reads both.
            registered.add(tag)
            prefetched.popleft()
            try:
                payload = message.decoded()
                size.add(tag, len(message.payload), payload)
                self._deliver(payload, message.queue)
            except self._store.server_errors:
                # Whatever the consumer has done there: not the message's fault.
                raise
            except Exception as error:
                size.remove(tag)
                self._move_to_unreadable(tag, f"{type(error).__name__}: {error}")
                logger.debug("a message cannot be delivered", exc_info=error)
            finally:
                registered.discard(tag)
        return bool(count)
