"""A connection on which commands are sent, and no reply is awaited."""

import socket
import ssl
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from task_server.transport.started.reported import Command

#: Bytes that may wait for room in the system's buffer; with more the connection is closed.
MAX_BUFFERED: Final = 65536


class ReplyOffConnection:
    """
    Sends commands without waiting for replies (CLIENT REPLY OFF).

    After a crash many starts are reported, and a task that waits for the server
    before it runs costs twice as much as one that does not. What was sent arrives,
    even if this process dies now: the server sends nothing on this connection, so
    that nothing unread resets it.

    Args:
        pool: The pool whose class and options make the connection, once it is needed.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._connection: Any = None
        self._reply_off: Any = None
        self._denied = False
        self._unsent = b""
        self._broken = False
        # Greenlets share the connection.
        self._lock = Lock()

    @property
    def is_instant(self) -> bool:
        """Whether `send_now` sends anything: not over TLS, which may read before it writes."""
        return self._reply_off is not None and not isinstance(self._reply_off, ssl.SSLSocket)

    def send(self, commands: Callable[[], Iterable[Command]]) -> bool:
        """
        Send *commands*, made when it is their turn; False if this user may not turn replies off.

        Raises:
            One of the connection's errors; the next call connects again.
        """
        with self._lock:
            if self._denied:
                return False
            try:
                self._prepare()
                packed = b"".join(self._connection.pack_commands(commands()))
                packed, self._unsent = self._unsent + packed, b""
                self._write([packed])
            except ResponseError:
                self._denied = True
                self.close()
                return False
            except BaseException:
                self.close()
                raise
            return True

    def send_now(self, command: Command) -> None:
        """Send *command* without ever waiting; what would wait goes with the next commands."""
        if not self.is_instant:
            return
        self._unsent += b"".join(self._connection.pack_commands([command]))
        if self._lock.locked():
            return
        # gevent's socket wraps the system's.
        system = getattr(self._reply_off, "_sock", self._reply_off)
        try:
            self._unsent = self._unsent[system.send(self._unsent, socket.MSG_DONTWAIT) :]
        except OSError as error:
            if not isinstance(error, BlockingIOError) or len(self._unsent) > MAX_BUFFERED:
                # Half a command may have been sent. Closing it may have to wait.
                self._reply_off, self._broken = None, True

    def _prepare(self) -> None:
        if self._broken:
            raise RedisConnectionError("the connection on which starts are reported broke")
        if self._connection is None:
            # Made, not taken: a small pool has none to spare.
            self._connection = self._pool.connection_class(**self._pool.connection_kwargs)
            self._connection.connect()
        if self._connection._sock is not self._reply_off:  # noqa: SLF001 - redis-py has no public name
            self._unsent = b""
            # Only the first of the two gets a reply, an error included.
            self._connection.send_command("CLIENT", "REPLY", "ON")
            self._connection.read_response()
            self._write(self._connection.pack_command("CLIENT", "REPLY", "OFF"))
            self._reply_off = self._connection._sock  # noqa: SLF001

    def _write(self, packed: Any) -> None:
        # A check of its health would wait for a reply.
        self._connection.send_packed_command(packed, check_health=False)

    def close(self) -> None:
        """Close the connection; the next call connects again."""
        self._reply_off, self._broken = None, False
        self._unsent = b""
        if self._connection is not None:
            self._connection.disconnect()
