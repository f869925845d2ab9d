"""The channel: Kombu's, with a fetch that a kill cannot split."""

# ruff: noqa: SLF001 - Kombu's transports are made of private methods

import hashlib
import json
import logging
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from kombu.utils.scheduling import round_robin_cycle
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from task_server.transport.failover import leaving
from task_server.transport.fetcher import WAIT, Fetcher, Sent
from task_server.transport.kombu_redis import redis
from task_server.transport.store import dead_letters as dead
from task_server.transport.store import rights, unreadable
from task_server.transport.store.problems import Problems
from task_server.transport.unacked.pending import Late
from task_server.transport.unacked.qos import QoS

if TYPE_CHECKING:
    from collections.abc import Callable

    from task_server.transport.poller import MultiChannelPoller

logger: Final = logging.getLogger(__name__)

#: What broken connections left, by the broker and the key of the unacked messages.
_LATE: Final[dict[tuple[Any, ...], Late]] = {}

#: A closing channel waits so many seconds for a reply that is on the way.
LAST_REPLY_TIMEOUT: Final = 5.0


class Channel(redis.Channel):  # type: ignore[misc]
    """
    A channel of one Redis server.

    Attributes:
        stock_mode: Messages are taken as Kombu takes them, without
            acknowledgement: replies of remote control, `no_ack` consumers.

        fetch_max: Messages that one call fetches at most (transport option).

        ack_batching: Whether acknowledgements travel with the next fetch while
            there is work (transport option). A kill between the end of a task
            and that fetch, a turn of the loop, runs the task again. False for
            tasks that acknowledge early because they must not run twice.

        poison_limit: A message is put aside when so many workers died of it,
            or a child of theirs; 0 is never (transport option).

        problems: What this channel does without, or cannot read.

        lease_seconds: How long messages are this process's after its last
            sign of life, which a thread then gives; 0 is as long as the
            visibility timeout, and the loop gives it (transport option).

        grace_left: Seconds until it is worth another look for messages of dead
            workers, after Redis was not there.
    """

    QoS = QoS

    fetch_max = 64
    ack_batching = True
    poison_limit = 3
    lease_seconds = 0.0
    # Kombu 5.6 has neither option; Kombu 5.7 looks at every tenth interval.
    unacked_restore_interval = 10
    unacked_restore_throttle = 1

    stock_mode = False
    grace_left = 0.0
    _brpop_sent_at: float | None = None

    from_transport_options = tuple(
        dict.fromkeys(
            (
                *redis.Channel.from_transport_options,
                *("fetch_max", "ack_batching", "poison_limit", "lease_seconds"),
                *("unacked_restore_interval", "unacked_restore_throttle"),
            )
        )
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._without_ack: set[str] = set()
        self.problems = Problems()
        self.fetcher = Fetcher(self)
        self._bare: Any = None
        self._leased = False
        self.late = Late()
        super().__init__(*args, **kwargs)
        client = self.connection.client
        self._broker = (client.hostname, client.port, client.virtual_host, *self.unacked_keys())
        self.late = _LATE.setdefault(self._broker, self.late)
        self.handlers["WAKE"] = self.fetcher.woken

    # What the other parts ask

    def prefixed(self, key: str) -> str:
        """Return *key* as the server knows it."""
        return f"{self.global_keyprefix}{key}"

    @property
    def broker_id(self) -> str:
        """A name of the server and of the keys in it; nobody can read its password there."""
        said = json.dumps([str(part) for part in self._broker])
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def unacked_keys(self) -> tuple[str, str]:
        """Return the keys of the unacked messages and of their times, complete."""
        return self.prefixed(self.unacked_key), self.prefixed(self.unacked_index_key)

    @property
    def unreadable_key(self) -> str:
        """The complete key of the list of messages that could not be read."""
        return unreadable.key_of(self.unacked_keys()[0])

    @property
    def dead_key(self) -> str:
        """The complete key of the messages that were put aside, see `dead`."""
        return dead.key_of(self.unacked_keys()[0])

    @property
    def looks_key(self) -> str:
        """The complete key of the looks for messages of dead workers."""
        return f"{self.unacked_keys()[0]}.looks"

    @property
    def server_errors(self) -> tuple[type[Exception], ...]:
        """What is raised when the server is gone; to Kombu each KeyError is such an error."""
        return tuple(each for each in self.connection_errors if each is not KeyError)

    def bare_client(self) -> Any:
        """
        Return a client that takes complete keys; Kombu's prefixes only some commands.

        It is kept: Kombu makes one for each operation, which costs more than
        the operation.
        """
        if self._bare is None or self._bare.connection_pool is not self.pool:
            self._bare = Redis(connection_pool=self.pool)
        return self._bare

    def free_credit(self) -> int:
        """Return how many messages to fetch."""
        credit = self.qos.can_consume_max_estimate()
        if credit is None or "can_consume" in vars(self.qos):
            # A consumer without a limit has not said that it can hold many.
            # With `worker_disable_prefetch` Celery puts its own test in the
            # place of can_consume: it must be asked before each message.
            return 1
        return int(max(1, min(credit - len(self.fetcher.held), self.fetch_max)))

    @property
    def cycle_rotates(self) -> bool:
        """Whether a queue that gave a message goes to the end of the cycle."""
        return type(self._queue_cycle).rotate is round_robin_cycle.rotate

    def cycle_of_connection(self) -> "MultiChannelPoller | None":
        """Return the poller; None after the connection was closed."""
        return getattr(self.connection, "cycle", None)

    def batches_acks(self) -> bool:
        """
        Whether a fetch is due that can take an acknowledgement along.

        A consumer without a limit of messages is not one of Celery's, and may
        not come back to its loop for long.
        """
        return bool(
            self.ack_batching
            and self.fetcher.busy
            and not self.stock_mode
            and self._active_queues
            and self.qos.prefetch_count
        )

    def flush_idle_acks(self) -> None:
        """Send waiting acknowledgements that no fetch will take along."""
        if self.qos.has_acks and not (self.fetcher.busy and self.qos.can_consume()):
            self.qos.flush_acks()

    @property
    def lease_length(self) -> float:
        """
        Seconds of the lease of what is fetched, 0 for none.

        No longer than the visibility timeout: after that one workers with
        Kombu's transport take a message, whatever stands in it.
        """
        return min(float(self.lease_seconds or 0), float(self.visibility_timeout))

    @property
    def silence(self) -> float:
        """Seconds after its last sign of life when what this process has is delivered again."""
        return self.lease_length or float(self.visibility_timeout)

    @property
    def restore_interval(self) -> float:
        """Seconds between two looks for messages of dead workers."""
        interval = self.unacked_restore_interval
        if interval <= 0:
            interval = Channel.unacked_restore_interval
        seconds = float(interval * (self.unacked_restore_throttle or 1))
        return min(seconds, self.lease_length / 6) if self.lease_length else seconds

    @property
    def restore_gap(self) -> float:
        """
        Seconds between two looks, of all workers, from which on Redis was not there.

        What nobody saw, and the time between two signs of life, are together
        shorter than a lease.
        """
        look, timeout = self.restore_interval, float(self.visibility_timeout)
        if self.lease_length:
            return 1.5 * look + min(1.0, look)
        return max(1.5 * look + 2, min(3 * look + 1, timeout / 4))

    @property
    def restore_grace(self) -> float:
        """Seconds that living workers have after it to come back and say that they live."""
        return min(60.0, float(self.visibility_timeout))

    @property
    def lease_grace(self) -> float:
        """
        The same of those whose thread says it: it tries each second.

        With the defaults lease, look and grace are 50 seconds together.
        """
        return min(15.0, self.lease_length / 2)

    @property
    def hold_interval(self) -> float:
        """Seconds between two signs of life: two may fail before others take over."""
        interval = min(60.0, float(self.visibility_timeout) / 4)
        return min(interval, self.lease_length / 3) if self.lease_length else interval

    @property
    def turn_interval(self) -> float:
        """Seconds between two looks at what is due."""
        return min(1.0, self.hold_interval)

    def settle(self) -> bool:
        """
        Return whether what is held here is certainly held, and may begin; ask if it is not.

        What others have by then is forgotten, and the worker hears of it.

        Raises:
            One of the connection's errors.
        """
        lease = self.late.lease
        if not self.lease_seconds or (self._leased and lease.is_settled):
            return True
        if self.closed or self.cycle_of_connection() is None:
            return lease.is_sure
        lease.join(self)
        self._leased = True
        try:
            lease.make_sure(self.bare_client())
        except self.ResponseError as error:
            logger.debug("Redis does not say what is held here: %s", error)
            return False
        if news := lease.lost - lease.told:
            told = [each for channel in lease.channels() for each in channel.forget_lost(news)]
            lease.told.update(told)
            lease.lost -= news.difference(told)
        return True

    def forget_lost(self, tags: set[str]) -> set[str]:
        """Forget those of *tags*, which others have, that have not begun; return the others."""
        self.fetcher.held.drop(tags)
        return set(self.qos.forget_lost(tags))

    def drop_stale_connection(self) -> None:
        """
        Drop a connection whose reply is overdue.

        Kombu does it from 5.7 on, and only in its event loop or when nothing
        else happens.
        """
        connection, interval = self._in_poll, self.health_check_interval
        if not connection or not interval or self._brpop_sent_at is None or self.stock_mode:
            return
        waited = monotonic() - self._brpop_sent_at
        if waited > WAIT + interval and not _readable(connection):
            logger.warning("Redis has not answered for %.0f s; connecting again", waited)
            connection.disconnect()

    # What Kombu asks

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Kombu's
        """Remember who wants no acknowledgement: the script would register for nobody."""
        (self._without_ack.add if no_ack else self._without_ack.discard)(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def _size(self, queue: str) -> int:
        """Return the messages of *queue*; 0 where it is no list, which the fetch will say."""
        try:
            return int(super()._size(queue))
        except self.ResponseError as error:
            if rights.is_refusal(error) or "WRONGTYPE" in str(error):
                return 0
            raise

    def _queue_bind(self, exchange: str, *args: Any) -> None:
        """
        Bind a queue; a user who may not is told, and consumes it all the same.

        Kombu's error ends the worker. What is bound already stays so, and what
        Celery sends to a queue needs no binding.
        """
        try:
            super()._queue_bind(exchange, *args)
        except self.ResponseError as error:
            if not rights.is_refusal(error):
                raise
            self.problems.optional(self.prefixed(self.keyprefix_queue % exchange), str(error))

    def basic_cancel(self, consumer_tag: str) -> Any:
        """
        Give back at once what nobody will consume.

        Under gevent a consumer may wait in its callback for a free place, and
        Kombu cancels when it returns; what was fetched would then overtake what
        a worker that stops has given back meanwhile.
        """
        if self._tag_to_queue.get(consumer_tag) in {each.queue for each in self.fetcher.held}:
            self._quietly(self.fetcher.held.give_back)
        return super().basic_cancel(consumer_tag)

    def _update_queue_cycle(self) -> None:
        """After each change of the consumed queues: what was fetched for others goes back."""
        super()._update_queue_cycle()
        active = set(self.active_queues)
        self.stock_mode = not self.ack_emulation or not self._without_ack.isdisjoint(active)
        fetcher = self.fetcher
        if not active or self.stock_mode:
            self._quietly(fetcher.collect)
            self._quietly(fetcher.held.give_back)
            self._quietly(self._flush_all_acks)
        elif any(message.queue not in active for message in fetcher.held):
            self._quietly(fetcher.held.give_back)
        fetcher.busy = True

    def _flush_all_acks(self) -> None:
        if self._qos is not None and self.ack_emulation:
            self._qos.flush_acks()

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask by the script; Kombu's BRPOP takes a message before it registers it."""
        if self.stock_mode:
            super()._brpop_start(timeout)
        else:
            self.fetcher.start()

    def _brpop_read(self, **options: Any) -> Any:
        """Read what was asked for."""
        if self.fetcher.sent is Sent.NOTHING and (self.stock_mode or self._in_poll):
            return super()._brpop_read(**options)
        try:
            return self.fetcher.read()
        finally:
            # Kombu 5.7 sends a renewed token of a credential provider here.
            getattr(self, "_flush_brpop_reauth", _nothing)()

    def _poll_error(self, type: str, **options: Any) -> Any:  # noqa: A002 - Kombu's
        """An error on the wake connection is read where its news is."""
        if type == "WAKE":
            return self.fetcher.woken()
        return super()._poll_error(type, **options)

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - Kombu's
        """
        Return what a connection needs.

        After the connection was given up Kombu fails here with "'NoneType'
        object has no attribute 'hostname'", which ends the worker; an error
        of the connection makes it connect again.
        """
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("the connection of this channel was given up")
        return super()._connparams(asynchronous=asynchronous)

    def _get_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - Kombu's
        """Return a pool whose connections leave a server that became a replica."""
        pool = super()._get_pool(asynchronous=asynchronous)
        pool.connection_class = leaving(pool.connection_class)
        return pool

    def close(self) -> None:
        """
        Close, and leave nothing in between.

        Kombu waits for its BRPOP and delivers what it brings to consumers that
        are gone. Here what was fetched goes back first, then what is unacked.
        """
        if not self.closed and self._active_queues_ever:
            self._quietly(self.fetcher.collect)
            self._quietly(self.fetcher.held.give_back)
            self._quietly(self._flush_all_acks)
            if self._qos is not None and self.ack_emulation:
                self._qos.restore_unacked_once()
            self._quietly(self.fetcher.close)
        self.late.lease.leave(self)
        if isinstance(self._qos, QoS):
            self._qos.telling.close()
        try:
            super().close()
        finally:
            # Last: tasks of other greenlets end, and acknowledge, while this waits.
            if self._qos is not None and self.ack_emulation:
                self._qos.leave_acks()

    @property
    def _active_queues_ever(self) -> bool:
        """Whether this channel has consumed; one that publishes has nothing to give back."""
        return "client" in vars(self) and bool(self._active_queues or self.fetcher.used)

    def _quietly(self, step: "Callable[[], None]") -> None:
        """Run one step of an end; without a server there is nothing to be done about it."""
        sock = getattr(self._in_poll or None, "_sock", None)
        _set_timeout(sock, LAST_REPLY_TIMEOUT)
        try:
            step()
        except (*self.connection_errors, self.ResponseError) as error:
            logger.warning(
                "Redis did not take what this worker gave back (%s); it gets it when it is there "
                "again, or else delivers it again %g s after this worker's last sign of life",
                *(error, self.silence),
            )
        finally:
            _set_timeout(sock, self.socket_timeout)


def _nothing() -> None:
    """Stand in for a method that an older Kombu does not have."""


def _set_timeout(sock: Any, seconds: float | None) -> None:
    # There may be none, or the step has closed it.
    with suppress(OSError, AttributeError):
        sock.settimeout(seconds)


def _readable(connection: Any) -> bool:
    """Return whether a reply has arrived; an unread one does not count as missing."""
    from select import select  # noqa: PLC0415 - gevent's, if it was patched

    sock = connection._sock
    if sock is None:
        return False
    return bool(select([sock], [], [], 0)[0])


class SentinelChannel(Channel, redis.SentinelChannel):  # type: ignore[misc]
    """A channel of the server that Sentinel names."""

    from_transport_options = tuple(
        dict.fromkeys(
            (*redis.SentinelChannel.from_transport_options, *Channel.from_transport_options)
        )
    )
