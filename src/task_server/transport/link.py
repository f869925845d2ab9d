"""What our parts ask of Kombu's channel, by its private methods."""

# ruff: noqa: SLF001 - Kombu's transports are made of private methods

from collections.abc import Sequence
from threading import get_ident
from typing import Any

from task_server.transport.hooks import Hooks
from task_server.transport.store.dead_letters import DeadLetter


class ChannelLink:
    """The link from the parts to their channel."""

    def __init__(self, channel: Any, hooks: Hooks) -> None:
        self._channel = channel
        self._hooks = hooks

    # The connection

    def is_connected(self) -> bool:
        """Return whether the channel still has its connection."""
        channel = self._channel
        return not (
            channel.closed or channel.connection is None or channel.connection.client is None
        )

    def is_polled(self) -> bool:
        """Return whether the channel is open, and its connection polled."""
        return not self._channel.closed and self._cycle() is not None

    def _cycle(self) -> Any:
        """Return the poller; None after the connection was closed."""
        return getattr(self._channel.connection, "cycle", None)

    def wake(self) -> None:
        """
        Wake the loop, if it may wait in its poll: there is room for a message.

        A greenlet or thread that acknowledges makes room; the loop would notice
        after its timeout of two seconds.
        """
        cycle = self._cycle()
        if cycle is not None and cycle.owner not in (None, get_ident()):
            cycle.wake()

    def new_pool(self) -> Any:
        """Return a new pool like the channel's."""
        return self._channel._get_pool()

    def report_pool(self) -> Any:
        """Return the pool for the connection of the reports; None if not connected."""
        return self._channel.client.connection_pool if self.is_connected() else None

    # The consumers

    def can_ack_later(self) -> bool:
        """
        Return whether a fetch is due that takes acknowledgements along.

        A consumer without a limit of messages is not one of Celery's, and may
        not come back to its loop for long.
        """
        channel = self._channel
        return bool(
            channel.ack_batching
            and channel.fetcher.idle.fetch_due
            and not channel.passthrough
            and channel._active_queues
            and channel.qos.prefetch_count
        )

    def can_consume(self) -> bool:
        """Return whether a consumer has room for one more message."""
        return bool(self._channel.qos.can_consume())

    def credit(self) -> int:
        """Return how many messages to fetch."""
        channel = self._channel
        credit = channel.qos.can_consume_max_estimate()
        if credit is None or "can_consume" in vars(channel.qos):
            # A consumer without a limit has not said that it takes many.
            # With `worker_disable_prefetch` Celery puts its own test in the
            # place of can_consume: it must be asked before each message.
            return 1
        room = self._hooks.room()
        credit = credit if room is None else min(credit, room)
        return int(max(1, min(credit - len(channel.unacked.prefetched), channel.fetch_max)))

    def is_single(self) -> bool:
        """Return whether one message is delivered now: by `drain_events`."""
        return bool(self._channel.connection.cycle._in_protected_read)

    def deliver(self, payload: Any, queue: str) -> None:
        """Give *payload* to the consumer of *queue*."""
        self._channel.connection._deliver(payload, queue)

    def move_to_unreadable(self, tag: str, reason: str) -> None:
        """Move the message of *tag* to the unreadable messages."""
        self._channel.qos.move_to_unreadable(tag, reason)

    def consumed_queues(self) -> set[str]:
        """Return the queues that are consumed."""
        return set(self._channel.active_queues)

    def on_dead_letter(self, letter: DeadLetter) -> None:
        """Give a new dead letter to the worker."""
        self._hooks.on_dead_letter(self._channel, letter)

    # The routes

    def queues_of(self, exchange: Any, routing_key: Any) -> Sequence[str]:
        """Return the queues that are bound to *exchange* with *routing_key*."""
        found: Sequence[str] = self._channel._lookup(exchange, routing_key)
        return found

    def priority_of(self, payload: Any) -> int:
        """Return the priority of the message *payload*."""
        return int(self._channel._get_message_priority(payload, reverse=False))
