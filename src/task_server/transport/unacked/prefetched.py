"""What a fetch has brought and no consumer has seen yet: hand it on, or give it back."""

# ruff: noqa: SLF001 - Kombu's transports are made of private methods

import logging
from collections import deque
from collections.abc import Collection
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from task_server.transport.store import previous_owner as again
from task_server.transport.store.scripts import GIVE_BACK
from task_server.transport.unacked.leases import clock

if TYPE_CHECKING:
    from task_server.transport.channel import Channel

logger: Final = logging.getLogger(__name__)


class Message(NamedTuple):
    """
    A message that is registered as unacked and not handed on yet.

    Attributes:
        holder: What the fetch has written into its entry.
    """

    queue: str
    tag: str
    text: bytes
    key: str
    holder: str


class Held(deque[Message]):
    """The messages of one channel, in the order in which they were fetched."""

    def __init__(self, channel: "Channel") -> None:
        super().__init__()
        self._channel = channel

    def hand_on(self) -> bool:
        """
        Give messages to the consumer as far as its credit goes.

        Under an event loop all of them; in `drain_events` one, which is what
        its callers expect of one call. Return whether there was one.
        """
        channel = self._channel
        if self and not channel.settle():
            return False
        alone = channel.connection.cycle._in_protected_read
        count = 0
        while self and channel.qos.can_consume() and not (alone and count):
            message = self.popleft()
            count += 1
            channel.qos.registered.add(message.tag)
            try:
                channel.connection._deliver(_decoded(message), message.queue)
            except (*channel.server_errors, channel.ResponseError):
                # Whatever the consumer has done there: not the message's fault.
                raise
            except Exception as error:
                channel.qos.refuse(message.tag, f"{type(error).__name__}: {error}")
                logger.debug("it cannot be delivered", exc_info=error)
            finally:
                channel.qos.registered.discard(message.tag)
        return bool(count)

    def check_lease(self, since: float) -> None:
        """
        Drop what others have by now, if the fetch was sent long ago: *since*, by the lease's clock.

        The loop did not turn, or the process was stopped, while its reply lay there.

        Raises:
            One of the connection's errors.
        """
        channel = self._channel
        lease, seconds = channel.late.lease, channel.lease_length
        if lease.lost:
            for known in (lease.lost, lease.told):
                known.difference_update(message.tag for message in self)
        if seconds and clock() - since > seconds / 2:
            tags = [message.tag for message in self]
            self.drop(set(lease.lost_of(channel.bare_client(), tags)))

    def drop(self, tags: Collection[str]) -> None:
        """Forget the messages of *tags*, which others have."""
        kept = [message for message in self if message.tag not in tags]
        if len(kept) < len(self):
            logger.warning(
                "%d messages that this worker had fetched are others' now: it was stopped, or cut "
                "off, for longer than its lease",
                len(self) - len(kept),
            )
            self.clear()
            self.extend(kept)

    def give_back(self) -> None:
        """
        Put what was not handed on back to its queue, unchanged, if it is still held here.

        Raises:
            One of the connection's errors; the next connection does it then.
        """
        held = list(self)
        if not held:
            return
        arguments = [
            field
            for message in reversed(held)
            for field in (message.tag, message.key, message.text, message.holder)
        ]
        self.clear()
        now = monotonic()
        try:
            channel = self._channel
            _, problems = GIVE_BACK.run(channel.bare_client(), channel.unacked_keys(), arguments)
            if problems:
                channel.problems.of_restore(problems)
        except BaseException:
            late = self._channel.late.restores
            late.extend((message.tag, now) for message in reversed(held))
            raise


def _decoded(message: Message) -> Any:
    """Return the payload of *message*, with the delivery tag that it is registered by."""
    payload = loads(bytes_to_str(message.text))
    properties = payload["properties"]
    if properties["delivery_tag"] != message.tag:
        # A number, or one that another message has too.
        properties["delivery_tag"] = message.tag
    again.tell(payload)
    return payload
