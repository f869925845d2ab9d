"""The channel: Kombu's, with a fetch that a kill cannot split."""

import hashlib
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError

from task_server.transport import hooks
from task_server.transport.failover import reconnecting
from task_server.transport.fetcher import Fetcher
from task_server.transport.idle import IDLE_POLL
from task_server.transport.kombu_redis import redis
from task_server.transport.large import FastBase64
from task_server.transport.link import ChannelLink
from task_server.transport.queues import QueueChannel
from task_server.transport.store.client import Store
from task_server.transport.store.keys import Keys
from task_server.transport.timing import Timing
from task_server.transport.unacked.delivery import Delivery
from task_server.transport.unacked.pending import pending_of
from task_server.transport.unacked.qos import QoS
from task_server.transport.unacked.unacked import Unacked
from task_server.transport.wire import Sent, Wire

logger: Final = logging.getLogger(__name__)

#: Seconds that a closing channel waits for a pending reply.
LAST_REPLY_TIMEOUT: Final = 5.0


class Channel(QueueChannel):
    """
    A channel of one Redis server.

    Attributes:
        passthrough: Messages are fetched as Kombu does, without
            acknowledgement: replies of remote control, `no_ack` consumers.

        fetch_max: Messages that one call fetches at most (transport option).

        ack_batching: Whether acknowledgements travel with the next fetch while
            there is work (transport option). A kill between the end of a task
            and that fetch, a turn of the loop, runs the task again. False for
            tasks that acknowledge early because they must not run twice.

        poison_limit: A message that crashed so many workers, or children of
            theirs, becomes a dead letter; 0 means never (transport option).

        lease_seconds: How long this process owns messages after its last
            renewal, which a thread does; 0 means the visibility timeout, and
            the loop renews (transport option).

        prefetch_bytes: Nothing more is fetched while unacknowledged messages have so
            many, see `UnackedBytes`; 0 is no bound (transport option).

        delay_seconds: A task that is due later than this waits in Redis until it
            is due, not in the worker; 0 means in the worker (transport option).

        fetcher, delivery: The parts that do the work.
    """

    QoS = QoS

    codecs: Any = {**redis.Channel.codecs, "base64": FastBase64()}

    fetch_max = 64
    ack_batching = True
    poison_limit = 3
    lease_seconds = 0.0
    prefetch_bytes = 0
    delay_seconds = 0.0
    # Kombu 5.6 has neither option; Kombu 5.7 scans at every tenth interval.
    unacked_restore_interval = 10
    unacked_restore_throttle = 1

    passthrough = False
    _brpop_sent_at: float | None = None

    from_transport_options = tuple(
        dict.fromkeys(
            (
                *redis.Channel.from_transport_options,
                *("fetch_max", "ack_batching", "poison_limit"),
                *("lease_seconds", "prefetch_bytes", "delay_seconds"),
                *("unacked_restore_interval", "unacked_restore_throttle"),
            )
        )
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._without_ack: set[str] = set()
        super().__init__(*args, **kwargs)
        installed = hooks.current_hooks()
        link = ChannelLink(self, installed)
        store = Store(Keys.of(self), lambda: self.pool, self.connection_errors)
        timing = Timing.of(
            *(self.visibility_timeout, self.lease_seconds),
            *(self.unacked_restore_interval, self.unacked_restore_throttle, self.delay_seconds),
        )
        client = self.connection.client
        broker = (client.hostname, client.port, client.virtual_host, *store.keys.unacked_and_times)
        identity = json.dumps([str(part) for part in broker])
        #: Identifies the server and its keys, without revealing the password.
        self.broker_id = hashlib.sha256(identity.encode()).hexdigest()[:32]
        self.pending = pending_of(broker)
        self.unacked = Unacked.of(
            *(link, store, timing, installed, self.pending),
            poison_limit=self.poison_limit,
            prefetch_bytes=self.prefetch_bytes,
        )
        self.delivery = Delivery(
            store,
            self.unacked.prefetched,
            self.unacked.delivered,
            self.unacked.ownership,
            can_consume=link.can_consume,
            deliver=link.deliver,
            move_to_unreadable=link.move_to_unreadable,
            is_single=link.is_single,
        )
        self.fetcher = Fetcher(
            Wire(self), self.unacked, self.delivery, link.credit, link.can_consume
        )
        self.handlers["WAKE"] = self.fetcher.on_notification

    # What the poller and the worker ask

    def settle(self) -> bool:
        """Return whether what this channel has may start, see `Ownership.settle`."""
        return self.unacked.ownership.settle()

    def flush_idle_acks(self) -> None:
        """Send waiting acknowledgements that no fetch will take along."""
        acks = self.unacked.acks
        if acks and not (self.fetcher.idle.fetch_due and self.qos.can_consume()):
            acks.flush()

    def drop_stale_connection(self) -> None:
        """Drop a connection whose reply is overdue."""
        if self.health_check_interval and not self.passthrough:
            self.fetcher.wire.drop_stale(IDLE_POLL + self.health_check_interval)

    # What Kombu asks

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Kombu's
        """Remember queues consumed without acknowledgement: the script would register for none."""
        (self._without_ack.add if no_ack else self._without_ack.discard)(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def basic_cancel(self, consumer_tag: str) -> Any:
        """
        Requeue at once what will not be consumed.

        Under gevent a consumer may wait in its callback for a free slot, and
        Kombu cancels when it returns; what was fetched would then overtake what
        a worker that stops has requeued meanwhile.
        """
        prefetched = self.unacked.prefetched
        if self._tag_to_queue.get(consumer_tag) in {each.queue for each in prefetched}:
            self._best_effort(prefetched.requeue)
        return super().basic_cancel(consumer_tag)

    def _update_queue_cycle(self) -> None:
        """After each change of the consumed queues: requeue what was fetched for others."""
        super()._update_queue_cycle()
        active = set(self.active_queues)
        self.passthrough = not self.ack_emulation or not self._without_ack.isdisjoint(active)
        prefetched = self.unacked.prefetched
        if not active or self.passthrough:
            self._best_effort(self.fetcher.finish)
            self._best_effort(prefetched.requeue)
            self._best_effort(self.unacked.acks.flush)
        elif any(message.queue not in active for message in prefetched):
            self._best_effort(prefetched.requeue)
        self.fetcher.idle.fetch_due = True

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Fetch by the script; Kombu's BRPOP takes a message before it registers it."""
        if self.passthrough:
            super()._brpop_start(timeout)
        else:
            self.fetcher.start()

    def _brpop_read(self, **options: Any) -> Any:
        """Read the reply to what was sent."""
        if self.fetcher.wire.sent is Sent.NOTHING and (self.passthrough or self._in_poll):
            return super()._brpop_read(**options)
        try:
            return self.fetcher.read()
        finally:
            # Kombu 5.7 sends a renewed token of a credential provider here.
            getattr(self, "_flush_brpop_reauth", _nothing)()

    def _poll_error(self, type: str, **options: Any) -> Any:  # noqa: A002 - Kombu's
        """Read an error of the connection for notifications as a notification."""
        if type == "WAKE":
            return self.fetcher.on_notification()
        return super()._poll_error(type, **options)

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - Kombu's
        """
        Return what a connection needs.

        After the connection was closed for good Kombu fails here with "'NoneType'
        object has no attribute 'hostname'", which ends the worker; an error
        of the connection makes it reconnect.
        """
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("the connection of this channel is closed for good")
        return super()._connparams(asynchronous=asynchronous)

    def _get_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - Kombu's
        """Return a pool whose connections leave a server that became a replica."""
        pool = super()._get_pool(asynchronous=asynchronous)
        pool.connection_class = reconnecting(pool.connection_class)
        return pool

    def close(self) -> None:
        """
        Close, and requeue everything.

        Kombu waits for its BRPOP and delivers what it brings to consumers that
        are gone. Here prefetched messages are requeued first, then unacked ones.
        """
        unacked = self.unacked
        if not self.closed and self._has_consumed:
            self._best_effort(self.fetcher.finish)
            self._best_effort(unacked.prefetched.requeue)
            self._best_effort(unacked.acks.flush)
            if self._qos is not None and self.ack_emulation:
                self._qos.restore_unacked_once()
            self._best_effort(self.fetcher.close)
        unacked.ownership.leave()
        unacked.reporter.close()
        try:
            super().close()
        finally:
            # Last: tasks of other greenlets end, and acknowledge, while this waits.
            unacked.acks.hand_over()

    @property
    def _has_consumed(self) -> bool:
        """Whether this channel has consumed; one that publishes has nothing to requeue."""
        return "client" in vars(self) and bool(self._active_queues or self.fetcher.has_consumed)

    def _best_effort(self, step: Callable[[], None]) -> None:
        """Run one step of closing; without a server the next connection does the rest."""
        sock = getattr(self._in_poll or None, "_sock", None)
        _set_timeout(sock, LAST_REPLY_TIMEOUT)
        try:
            step()
        except self.unacked.store.errors as error:
            logger.warning(
                "Redis did not accept what this worker requeued (%s); it is requeued when Redis is "
                "back, or at the latest %g s after this worker's last lease renewal",
                *(error, self.unacked.timing.expires_after),
            )
        finally:
            _set_timeout(sock, self.socket_timeout)


def _nothing() -> None:
    """Stand in for a method that an older Kombu does not have."""


def _set_timeout(sock: Any, seconds: float | None) -> None:
    # There may be none, or the step has closed it.
    with suppress(OSError, AttributeError):
        sock.settimeout(seconds)


class SentinelChannel(Channel, redis.SentinelChannel):  # type: ignore[misc]
    """A channel of the server that Sentinel names."""

    from_transport_options = tuple(
        dict.fromkeys(
            (*redis.SentinelChannel.from_transport_options, *Channel.from_transport_options)
        )
    )
