"""The poller: Kombu's, with the maintenance that both of its loops do."""

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

#: Seconds between two scans for unreadable messages that another worker could
#: not put into their list: they read the fields of all unacked messages.
GATHER_SECONDS: Final = 300.0

#: Seconds between two returns of delayed tasks that are due, by a worker that is full.
RETURN_SECONDS: Final = 0.5

#: Seconds until the first scan.
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
        self._wakeup: tuple[socket.socket, socket.socket] | None = None
        self._is_woken = False
        self._next_tick = 0.0
        self._next_restore = 0.0
        # Not at once: many workers may start together.
        self._next_gather = monotonic() + GATHER_FIRST
        self._next_renewal = 0.0
        self._next_return = 0.0
        self._wakes_at: float | None = None
        self._refused = False

    def join(self, loop: Any, interval: float) -> None:
        """Tick every *interval* seconds of Kombu's event loop."""
        if self._timer is not None:
            # The timer of an earlier connection; each reconnection would add one.
            self._timer.cancel()
        self._loop = loop
        self._timer = loop.call_repeatedly(interval, self.tick)
        if not hasattr(self, "_paused_brpop"):
            # Up to Kombu 5.6 a connection that is closed, whichever it was, ends
            # the polling of all others: the worker lives on and fetches nothing.
            self._on_connection_disconnect = self._forget

    def _forget(self, connection: Any) -> None:
        """Stop polling a closed *connection* until it is connected again; as Kombu 5.7."""
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

    # Wake the loop from another thread or greenlet

    def wake(self) -> None:
        """End the poll of the loop, from any thread or greenlet."""
        if self._loop is not None:
            self._loop.call_soon(_nothing)
        elif self._wakeup is not None and not self._is_woken:
            self._is_woken = True
            try:
                self._wakeup[1].send(b"\0")
            except OSError:
                self._is_woken = False  # closed meanwhile: there is no poll to end

    def _open_wakeup(self) -> None:
        if self._wakeup is None:
            self._wakeup = socket.socketpair()
            for end in self._wakeup:
                end.setblocking(False)
            self.poller.register(self._wakeup[0].fileno(), READ)

    @property
    def fds(self) -> dict[int, Any]:
        """What is polled: the connections, and the wakeup. Without any Kombu 5.7 only sleeps."""
        watched: dict[int, Any] = super().fds
        if self._wakeup is not None:
            watched = {**watched, self._wakeup[0].fileno(): (None, "WAKEUP")}
        return watched

    def handle_event(self, fileno: int, event: int) -> Any:
        """Read, or find out what is wrong; the wakeup belongs to no channel."""
        if self._wakeup is not None and fileno == self._wakeup[0].fileno():
            self._is_woken = False
            self._wakeup[0].recv(4096)
            raise Empty
        return super().handle_event(fileno, event)

    def on_readable(self, fileno: int) -> Any:
        """Read; a notification without credit too, or no poll would wait again."""
        channel, kind = self._fd_to_chan.get(fileno, (None, None))
        if kind == "WAKE":
            return channel.fetcher.on_notification()
        return super().on_readable(fileno)

    # The loops

    def on_poll_init(self, poller: Any) -> None:
        """Begin to poll, and restore; if Redis refuses that, `maintain` logs it."""
        try:
            super().on_poll_init(poller)
        except ResponseError as error:
            logger.debug("the messages of dead workers are not restored yet: %s", error)

    def on_poll_start(self) -> None:
        """Before each poll: deliver, send acknowledgements, fetch."""
        self.owner = get_ident()
        for channel in self._fetching():
            if not self._in_protected_read:
                channel.delivery.deliver()
                channel.flush_idle_acks()
        super().on_poll_start()
        if self._loop is not None:
            self._wake_when_due()

    def _wake_when_due(self) -> None:
        """End the poll of the loop when a delayed task is due, and not with its next timer."""
        wakes_at = self._next_wake()
        if wakes_at is not None and wakes_at != self._wakes_at:
            self._loop.call_later(max(0.0, wakes_at - monotonic()), _nothing)
        self._wakes_at = wakes_at

    def _next_wake(self) -> float | None:
        """Return when the first idle channel fetches a delayed task, by the monotonic clock."""
        found = [channel.fetcher.idle.wakes_at for channel in self._fetching()]
        return min((each for each in found if each is not None), default=None)

    def get(self, callback: Any, timeout: float | None = None) -> None:
        """Wait for one event, without an event loop."""
        self.owner = get_ident()
        self.tick()
        if self._deliver_one():
            return
        for channel in self._fetching():
            # Here and not in on_poll_start, which Kombu 5.6 does not call.
            channel.flush_idle_acks()
        if any(not channel.qos.can_consume() for channel in self._fetching()):
            # Only another greenlet or thread can make room now, and wakes this one.
            # Kombu bounds this wait by a second, since the limit may change.
            self._open_wakeup()
            timeout = 1.0 if timeout is None else min(timeout, 1.0)
        super().get(callback, self._bounded(timeout))

    def _bounded(self, timeout: float | None) -> float | None:
        """Return how long to poll: until the next lease renewal, or a delayed task, at most."""
        ends = [self._next_wake()]
        if any(channel.qos.has_unacked for channel in self._fetching()):
            ends.append(self._next_renewal)
        left = [max(0.05, each - monotonic()) for each in ends if each is not None]
        return min([*left, *([] if timeout is None else [timeout])], default=None)

    def _deliver_one(self) -> bool:
        """Deliver one message that an earlier call fetched; return whether there was one."""
        # What a consumer cancels in its callback waits until it is over.
        self._in_protected_read = True
        try:
            return any(channel.delivery.deliver() for channel in self._fetching())
        finally:
            self._in_protected_read = False
            while self.after_read:
                self.after_read.pop()()

    def tick(self) -> None:
        """Do what is due: drop a dead connection, then as `maintain`."""
        now = monotonic()
        if now < self._next_tick:
            return
        for channel in self._with_messages():
            self._next_tick = now + channel.unacked.timing.tick_interval
            channel.drop_stale_connection()
        self.maintain()

    def maintain(self) -> None:
        """
        Renew our messages, and restore those of dead workers, when either is due.

        Another greenlet may call it while the loop's own waits in a consumer.
        The acknowledgements that the next fetch was to take along go at once
        then: it may take long, and the lease of a finished task is not renewed.
        """
        channels = list(self._with_messages())
        if not channels:
            return
        now, first = monotonic(), channels[0]
        timing, restore = first.unacked.timing, first.unacked.restore
        try:
            for channel in channels:
                channel.unacked.acks.flush()
            # Before a scan: after an outage of Redis every in-flight message looks
            # abandoned, our own too.
            if now >= self._next_renewal:
                self._next_renewal = now + timing.renew_interval
                for channel in channels:
                    channel.qos.renew()
                restore.pending()
            self._return_due(now)
            if now >= self._next_restore and first.active_queues:
                self._next_restore = now + timing.scan_interval
                # By the clock: Kombu counts calls, but its loops make very
                # different numbers of them, and without an event loop none
                # while the worker is idle. Any channel restores for all.
                first.qos.restore_visible(
                    num=first.unacked_restore_limit, interval=1, grace=timing.recovery_grace
                )
                restore.registered()
                self._gather(first, now)
                if left := restore.grace_remaining:
                    self._next_restore = now + min(left, timing.scan_interval)
        except first.connection_errors:
            logger.debug("Redis did not answer; the loop will notice", exc_info=True)
        except first.ResponseError as error:
            # A full worker fetches nothing, so that nothing else would log it.
            level = logging.DEBUG if self._refused else logging.WARNING
            logger.log(level, "Redis rejected the lease renewal: %s", error)
            self._refused = True
        else:
            self._refused = False

    def _return_due(self, now: float) -> None:
        """Return delayed tasks that are due, for other workers, while this one is full."""
        if now >= self._next_return:
            self._next_return = now + RETURN_SECONDS
            for channel in self._fetching():
                channel.fetcher.return_due()

    def _gather(self, channel: "Channel", now: float) -> None:
        """Move unreadable messages to their list: our own soon, those of others now and then."""
        if channel.pending.unreadable or now >= self._next_gather:
            self._next_gather = now + GATHER_SECONDS
            if unreadable.gather(channel.unacked.store):
                channel.pending.unreadable = 0

    def maybe_restore_messages(self) -> Any:
        """
        Leave it to `maintain`, which scans by the clock, and spares the living after an outage.

        Kombu calls this after each empty poll of `get`, and by a timer of the loop.
        """
        if self._in_protected_read or self._loop is not None:
            return None
        return super().maybe_restore_messages()

    def _fetching(self) -> "Iterator[Channel]":
        return (c for c in tuple(self._channels) if c.active_queues and not c.passthrough)

    def _with_messages(self) -> "Iterator[Channel]":
        """Return the channels that fetch, and those that only have messages, as in a drain."""
        yield from self._fetching()
        for channel in tuple(self._channels):
            if not (channel.active_queues or channel.passthrough) and channel.qos.has_unacked:
                yield channel

    def close(self) -> None:
        """Close everything, the wakeup included."""
        super().close()
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None:
            # The poller may be closed already.
            with suppress(KeyError, ValueError, OSError, AttributeError):
                self.poller.unregister(wakeup[0].fileno())
            for end in wakeup:
                end.close()


def _nothing() -> None:
    """Do nothing, in the loop: that it was called ends its poll."""
