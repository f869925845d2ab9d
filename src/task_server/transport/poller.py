"""The poller: Kombu's, and what both of its loops must do besides."""

import logging
import socket
from contextlib import suppress
from queue import Empty
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from kombu.utils.eventio import READ
from redis.exceptions import ResponseError

from task_server.transport.kombu_redis import redis
from task_server.transport.store import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from task_server.transport.channel import Channel

logger: Final = logging.getLogger(__name__)

#: Seconds between two looks for unreadable messages that another worker could
#: not put into their list: all unacked messages are gone through.
GATHER_SECONDS: Final = 300.0

#: Seconds until the first one.
GATHER_FIRST: Final = 30.0


class MultiChannelPoller(redis.MultiChannelPoller):  # type: ignore[misc]
    """
    Polls for all channels of a connection.

    Attributes:
        owner: The thread or greenlet that polls; None before the first poll.
    """

    _channels: "set[Channel]"

    def __init__(self) -> None:
        super().__init__()
        self.owner: int | None = None
        self._loop: Any = None
        self._timer: Any = None
        self._bell: tuple[socket.socket, socket.socket] | None = None
        self._rung = False
        self._next_turn = 0.0
        self._next_restore = 0.0
        # Not at once: many workers may start together.
        self._next_gather = monotonic() + GATHER_FIRST
        self._next_hold = 0.0
        self._refused = False

    def join(self, loop: Any, interval: float) -> None:
        """Take a turn every *interval* seconds of Kombu's event loop."""
        if self._timer is not None:
            # Of an earlier connection, else each reconnection adds one.
            self._timer.cancel()
        self._loop = loop
        self._timer = loop.call_repeatedly(interval, self.take_turn)
        if not hasattr(self, "_paused_brpop"):
            # Up to Kombu 5.6 a connection that is closed, whichever it was, ends
            # the polling of all others: the worker lives on and takes nothing.
            self._on_connection_disconnect = self._forget

    def _forget(self, connection: Any) -> None:
        """Poll a closed *connection* no longer, until it is connected again; as Kombu 5.7."""
        closed = set()
        for known in tuple(self._chan_to_sock):
            channel, client, kind = known
            if client.connection is connection:
                del self._chan_to_sock[known]
                closed.add((channel, kind))
        for fileno, known in tuple(self._fd_to_chan.items()):
            if known in closed:
                self._loop.remove(fileno)
                del self._fd_to_chan[fileno]

    # Another thread or greenlet has something for the loop

    def wake(self) -> None:
        """End the poll of the loop, from any thread or greenlet."""
        if self._loop is not None:
            self._loop.call_soon(_nothing)
        elif self._bell is not None and not self._rung:
            self._rung = True
            try:
                self._bell[1].send(b"\0")
            except OSError:
                self._rung = False  # closed meanwhile: there is no poll to end

    def _hang_bell(self) -> None:
        if self._bell is None:
            self._bell = socket.socketpair()
            for end in self._bell:
                end.setblocking(False)
            self.poller.register(self._bell[0].fileno(), READ)

    @property
    def fds(self) -> dict[int, Any]:
        """What is polled: the connections, and the bell. Without any Kombu 5.7 only sleeps."""
        watched: dict[int, Any] = super().fds
        if self._bell is not None:
            watched = {**watched, self._bell[0].fileno(): (None, "BELL")}
        return watched

    def handle_event(self, fileno: int, event: int) -> Any:
        """Read, or find out what is wrong; the bell belongs to no channel."""
        if self._bell is not None and fileno == self._bell[0].fileno():
            self._rung = False
            self._bell[0].recv(4096)
            raise Empty
        return super().handle_event(fileno, event)

    def on_readable(self, fileno: int) -> Any:
        """Read; the news of a changed queue without credit too, or no poll would wait again."""
        channel, kind = self._fd_to_chan.get(fileno, (None, None))
        if kind == "WAKE":
            return channel.fetcher.woken()
        return super().on_readable(fileno)

    # The loops

    def on_poll_init(self, poller: Any) -> None:
        """Begin to poll, and restore; Redis may refuse that, which `keep` then says."""
        try:
            super().on_poll_init(poller)
        except ResponseError as error:
            logger.debug("what dead workers left is not looked for yet: %s", error)

    def on_poll_start(self) -> None:
        """Before each poll: hand on, send acknowledgements, ask."""
        self.owner = get_ident()
        for channel in self._fetching():
            if not self._in_protected_read:
                channel.fetcher.held.hand_on()
                channel.flush_idle_acks()
        super().on_poll_start()

    def get(self, callback: Any, timeout: float | None = None) -> None:
        """Wait for one event, without an event loop."""
        self.owner = get_ident()
        self.take_turn()
        if self._hand_one_on():
            return
        for channel in self._fetching():
            # Here and not in on_poll_start, which Kombu 5.6 does not call.
            channel.flush_idle_acks()
        if any(not channel.qos.can_consume() for channel in self._fetching()):
            # Only another greenlet or thread can free a place now, and rings.
            # Kombu bounds this wait by a second, for whoever changes the limit.
            self._hang_bell()
            timeout = 1.0 if timeout is None else min(timeout, 1.0)
        super().get(callback, self._bounded(timeout))

    def _bounded(self, timeout: float | None) -> float | None:
        """Return how long to poll, no longer than to the next sign of life of held messages."""
        if not any(channel.qos.holds for channel in self._fetching()):
            return timeout
        left = max(0.05, self._next_hold - monotonic())
        return left if timeout is None else min(timeout, left)

    def _hand_one_on(self) -> bool:
        """Hand on one message that an earlier call fetched; return whether there was one."""
        # What a consumer cancels in its callback waits until it is over.
        self._in_protected_read = True
        try:
            return any(channel.fetcher.held.hand_on() for channel in self._fetching())
        finally:
            self._in_protected_read = False
            while self.after_read:
                self.after_read.pop()()

    def take_turn(self) -> None:
        """Do what is due: drop a dead connection, then as `keep`."""
        now = monotonic()
        if now < self._next_turn:
            return
        for channel in self._holding():
            self._next_turn = now + channel.turn_interval
            channel.drop_stale_connection()
        self.keep()

    def keep(self) -> None:
        """
        Keep what is held, and restore what others left, when either is due.

        Another greenlet may call it while the loop's own waits in a consumer.
        The acknowledgements that the next fetch was to take along go at once
        then: it may be long in coming, and nobody holds an ended task's message.
        """
        channels = list(self._holding())
        if not channels:
            return
        now, first = monotonic(), channels[0]
        try:
            for channel in channels:
                channel.qos.flush_acks()
            # Before a look: after an outage of Redis all that is held looks
            # forsaken, what this worker holds included.
            if now >= self._next_hold:
                self._next_hold = now + first.hold_interval
                for channel in channels:
                    channel.qos.hold()
                first.qos.restore_late()
            if now >= self._next_restore and first.active_queues:
                self._next_restore = now + first.restore_interval
                # By the clock: Kombu counts calls, of which its loops make
                # very different numbers, and without an event loop it makes
                # none while the worker is idle. Any channel restores for all.
                first.qos.restore_visible(
                    num=first.unacked_restore_limit, interval=1, grace=first.restore_grace
                )
                first.qos.restore_registered()
                self._gather(first, now)
                if first.grace_left:
                    self._next_restore = now + min(first.grace_left, first.restore_interval)
        except first.connection_errors:
            logger.debug("Redis did not answer; the loop will notice by itself", exc_info=True)
        except first.ResponseError as error:
            # A full worker fetches nothing, so that nothing else would say it.
            level = logging.DEBUG if self._refused else logging.WARNING
            logger.log(level, "Redis refuses this worker's signs of life: %s", error)
            self._refused = True
        else:
            self._refused = False

    def _gather(self, channel: "Channel", now: float) -> None:
        """Move unreadable messages to their list: own ones soon, those of others now and then."""
        if channel.late.unreadable or now >= self._next_gather:
            self._next_gather = now + GATHER_SECONDS
            unreadable.gather(channel)

    def maybe_restore_messages(self) -> Any:
        """
        Leave it to `keep`, which looks by the clock, and spares the living after an outage.

        Kombu calls this after each empty poll of `get`, and by a timer of the loop.
        """
        if self._in_protected_read or self._loop is not None:
            return None
        return super().maybe_restore_messages()

    def _fetching(self) -> "Iterator[Channel]":
        return (c for c in tuple(self._channels) if c.active_queues and not c.stock_mode)

    def _holding(self) -> "Iterator[Channel]":
        """Those that fetch, and those that do no longer, as in a drain, and hold messages."""
        yield from self._fetching()
        for channel in tuple(self._channels):
            if not (channel.active_queues or channel.stock_mode) and channel.qos.holds:
                yield channel

    def close(self) -> None:
        """Let go of everything, the bell included."""
        super().close()
        bell, self._bell = self._bell, None
        if bell is not None:
            # The poller may be closed already.
            with suppress(KeyError, ValueError, OSError, AttributeError):
                self.poller.unregister(bell[0].fileno())
            for end in bell:
                end.close()


def _nothing() -> None:
    """Do nothing, in the loop: that it was called ends its poll."""
