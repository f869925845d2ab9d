"""The connection on which Kombu waits for the reply to BRPOP, used for our commands."""

# ruff: noqa: SLF001 - Kombu's transports are made of private methods

import logging
from collections.abc import Sequence
from enum import Enum
from time import monotonic
from typing import Any, Final, Protocol

from kombu.utils.scheduling import round_robin_cycle

from task_server.transport.notifications import InvalidationListener

logger: Final = logging.getLogger(__name__)


class Sent(Enum):
    """The command whose reply is awaited."""

    NOTHING = "nothing"
    FETCH = "fetch"
    TRACK = "track"
    TOKEN = "token"  # noqa: S105 - the one that wakes a worker


class KombuChannel(Protocol):
    """What Kombu's poller and its channel say to each other by."""

    client: Any
    connection: Any
    active_queues: Any
    _in_poll: Any
    _brpop_sent_at: float | None
    _queue_cycle: Any

    def _create_client(self, asynchronous: bool = False) -> Any: ...  # noqa: FBT001, FBT002 - Kombu's


class Wire:
    """
    The wire of one channel.

    Attributes:
        sent: The command whose reply is awaited.
    """

    def __init__(self, channel: KombuChannel) -> None:
        self.sent = Sent.NOTHING
        self._channel = channel

    # The queues

    def next_queues(self) -> tuple[str, ...]:
        """Return the consumed queues, in the order of the queue cycle."""
        channel = self._channel
        return tuple(channel._queue_cycle.consume(len(channel.active_queues)))

    def rotate(self, queue: str) -> None:
        """Say that *queue* has given a message."""
        self._channel._queue_cycle.rotate(queue)

    @property
    def rotates(self) -> bool:
        """Whether a queue that gave a message goes to the end of the cycle."""
        return type(self._channel._queue_cycle).rotate is round_robin_cycle.rotate

    # The commands

    @property
    def is_awaited(self) -> bool:
        """Whether Kombu polls for the reply."""
        return bool(self._channel._in_poll)

    def send(self, what: Sent, *command: Any, before: Sequence[Any] = ()) -> None:
        """Send *command*, and another one *before* it, and let Kombu poll for the reply."""
        channel = self._channel
        connection = channel.client.connection
        if before:
            # In one, so that both replies are there at once.
            connection.send_packed_command(connection.pack_commands([before, command]))
        else:
            connection.send_command(*command)
        channel._in_poll = connection
        channel._brpop_sent_at = monotonic()
        self.sent = what

    def receive(self) -> Any:
        """
        Return the reply to what was sent.

        Raises:
            ResponseError: The server's.
        """
        client, sent = self._channel.client, self.sent
        if sent is Sent.TRACK:
            # The reply to the command that goes before.
            client.connection.read_response()
        return client.parse_response(client.connection, sent.name)

    def done(self) -> None:
        """Await no reply any more."""
        self._channel._in_poll = None
        self.sent = Sent.NOTHING

    def drop(self) -> None:
        """Disconnect, if Kombu polls: the reply would be taken for that of the next command."""
        if self._channel._in_poll:
            self._channel._in_poll.disconnect()

    def disconnect(self) -> None:
        """Disconnect; Kombu connects again."""
        self._channel.client.connection.disconnect()

    def drop_stale(self, seconds: float) -> None:
        """
        Drop a connection whose reply has not come for so many *seconds*.

        Kombu does it from 5.7 on, and only in its event loop or when nothing
        else happens.
        """
        connection, sent_at = self._channel._in_poll, self._channel._brpop_sent_at
        if not connection or sent_at is None:
            return
        waited = monotonic() - sent_at
        if waited > seconds and not _is_readable(connection):
            logger.warning("Redis has not answered for %.0f s; connecting again", waited)
            connection.disconnect()

    # The notifications

    def new_listener(self) -> InvalidationListener:
        """Return a second connection, for notifications."""
        return InvalidationListener(self._channel._create_client(asynchronous=True))

    def subscribe(self, listener: InvalidationListener) -> None:
        """
        Let Kombu poll *listener*, and the server notify it of what this connection reads.

        Raises:
            ResponseError: The server, or a proxy, does not offer it, or the
                user may not.
        """
        channel = self._channel
        cycle = channel.connection.cycle
        if not cycle._client_registered(channel, listener.client, "WAKE"):
            cycle._register(channel, listener.client, "WAKE")
        listener.subscribe(channel.client.connection)

    def fetch_now(self) -> None:
        """Let Kombu start a fetch now, and not before its next poll: the server works meanwhile."""
        self._channel.connection.cycle._register_BRPOP(self._channel)


def _is_readable(connection: Any) -> bool:
    """Return whether a reply has arrived; an unread one does not count as missing."""
    from select import select  # noqa: PLC0415 - gevent's, if it was patched

    sock = connection._sock
    return sock is not None and bool(select([sock], [], [], 0)[0])
