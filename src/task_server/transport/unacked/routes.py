"""The queues of a redelivered message: Kombu's routing, for any payload."""

from collections.abc import Sequence
from typing import Any, Protocol


class Routes(Protocol):
    """The bindings and priorities of one channel."""

    def queues_of(self, exchange: Any, routing_key: Any) -> Sequence[str]:
        """Return the queues that are bound to *exchange* with *routing_key*."""

    def priority_of(self, payload: Any) -> int:
        """Return the priority of the message *payload*."""
