"""Messages that were fetched and not yet delivered to a consumer."""

import logging
from collections import deque
from collections.abc import Collection, Iterable
from time import monotonic
from typing import Any, Final, NamedTuple

from task_server.transport.large import loaded
from task_server.transport.store import previous_owner
from task_server.transport.store.client import Store
from task_server.transport.store.portions import portions
from task_server.transport.store.scripts import REQUEUE
from task_server.transport.unacked.pending import Pending

logger: Final = logging.getLogger(__name__)


class Message(NamedTuple):
    """
    A message that is registered as unacked and not delivered yet.

    Attributes:
        owner_marker: What the fetch has written into its entry.
    """

    queue: str
    delivery_tag: str
    payload: bytes
    list_key: str
    owner_marker: str

    def decoded(self) -> Any:
        """Return the payload, with the tag it is registered by and its list; log who had it."""
        payload = loaded(self.payload)
        properties = payload["properties"]
        if properties["delivery_tag"] != self.delivery_tag:
            # A number, or one that another message has too.
            properties["delivery_tag"] = self.delivery_tag
        previous_owner.log_and_remove(payload)
        # Where to send it again if its task fails.
        payload["taken_from"] = self.list_key
        return payload


class Prefetched(deque[Message]):
    """The messages of one channel, in the order in which they were fetched."""

    def __init__(self, store: Store, pending: Pending) -> None:
        super().__init__()
        self._store = store
        self._pending = pending

    def drop(self, tags: Collection[str]) -> None:
        """Forget the messages of *tags*, which others own."""
        dropped = [message for message in self if message.delivery_tag in tags]
        if dropped:
            logger.warning(
                "%d messages that this worker had fetched belong to other workers now: it was "
                "stopped or disconnected for longer than its lease",
                len(dropped),
            )
        # One by one: the thread that renews leases must find the others at any moment.
        for message in dropped:
            self.remove(message)

    def requeue(self, queues: Collection[str] | None = None) -> None:
        """
        Requeue all messages unchanged, or those of *queues*, if this process still owns them.

        Raises:
            One of the connection's errors; the next connection does it then.
        """
        messages = [one for one in self if queues is None or one.queue in queues]
        if not messages:
            return
        # One by one, as above.
        for message in messages:
            self.remove(message)
        now = monotonic()
        messages.reverse()
        done = 0
        try:
            for portion in portions(messages, lambda one: len(one.payload)):
                self._requeue(portion)
                done += len(portion)
        except BaseException:
            self._pending.restores.extend((one.delivery_tag, now) for one in messages[done:])
            raise

    def _requeue(self, messages: Iterable[Message]) -> None:
        store = self._store
        arguments = [
            field
            for one in messages
            for field in (one.delivery_tag, one.list_key, one.payload, one.owner_marker)
        ]
        _, problems = REQUEUE.run(store.client, store.keys.unacked_and_times, arguments)
        if problems:
            store.problems.of_restore(problems)
