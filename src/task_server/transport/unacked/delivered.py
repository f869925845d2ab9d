"""The messages that the consumers of one channel have."""

from collections.abc import MutableMapping
from typing import Any

from task_server.transport.unacked.native import copied
from task_server.transport.unacked.unacked_bytes import UnackedBytes


class Delivered:
    """
    The messages that consumers have not acknowledged: the collections of Kombu's QoS.

    Attributes:
        registered: Delivery tags that the script has registered and that the
            consumer has not seen yet.

        size: Their bytes.
    """

    def __init__(self, size: UnackedBytes | None = None) -> None:
        self.size = size or UnackedBytes()
        self.registered: set[str] = set()
        self._delivered: MutableMapping[str, Any] = {}
        self._dirty: set[str] = set()

    def share(self, delivered: MutableMapping[str, Any], dirty: set[str]) -> None:
        """Use the collections of a QoS, which Kombu makes when it is first needed."""
        self._delivered, self._dirty = delivered, dirty

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._delivered)

    def __contains__(self, tag: str) -> bool:
        """Return whether a consumer has the message of *tag*, acknowledged or not."""
        return tag in self._delivered

    def owns(self, tag: str) -> bool:
        """Return whether a consumer has the message of *tag*, and has not acknowledged it."""
        return tag in self._delivered and tag not in self._dirty

    def unacked(self) -> list[str]:
        """Return the delivery tags of those that are not acknowledged; any thread may ask."""
        dirty = set(copied(self._dirty))
        return [tag for tag in copied(self._delivered) if tag not in dirty]

    def forget(self, tag: str) -> None:
        """Forget the message of *tag*, which is acknowledged or rejected; any thread may."""
        self._dirty.add(tag)
        self.size.remove(tag)

    def take_all(self) -> list[str]:
        """Return the delivery tags of all, the oldest first, and forget them."""
        tags = list(self._delivered)
        self._delivered.clear()
        self.size.clear()
        return tags
