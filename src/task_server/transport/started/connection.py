"""A connection on which things are told, and no answer is waited for."""

import socket
import ssl
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from task_server.transport.started.tasks import Command

#: Bytes that may wait for room in the system's buffer; beyond it the connection is given up.
MOST_WAITING: Final = 65536


class Teller:
    """
    Sends commands without waiting for answers.

    After a worker has died many messages are marked, and a task that waits for
    the server before it runs costs twice as much as one that does not. What was
    sent arrives, even if this process dies now: the server answers nothing on
    this connection, so that nothing unread resets it.

    Args:
        pool: A pool, as whose connections one is made when it is needed.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._connection: Any = None
        self._silent: Any = None
        self._denied = False
        self._rest = b""
        self._broken = False
        # Greenlets share the connection.
        self._turn = Lock()

    @property
    def slips(self) -> bool:
        """Whether `slip` sends anything: not over TLS, which may have to read before it writes."""
        return self._silent is not None and not isinstance(self._silent, ssl.SSLSocket)

    def tell(self, commands: Callable[[], Iterable[Command]]) -> bool:
        """
        Send *commands*, asked for when it is their turn; False if this user may not be silent.

        Raises:
            One of the connection's errors; the next call connects again.
        """
        with self._turn:
            if self._denied:
                return False
            try:
                self._prepare()
                packed = b"".join(self._connection.pack_commands(commands()))
                packed, self._rest = self._rest + packed, b""
                self._send([packed])
            except ResponseError:
                self._denied = True
                self.close()
                return False
            except BaseException:
                self.close()
                raise
            return True

    def slip(self, command: Command) -> None:
        """Send *command* without ever waiting; if it must wait it goes with what comes next."""
        if not self.slips:
            return
        self._rest += b"".join(self._connection.pack_commands([command]))
        if self._turn.locked():
            return
        # Under gevent the system's socket is inside of its own.
        system = getattr(self._silent, "_sock", self._silent)
        try:
            self._rest = self._rest[system.send(self._rest, socket.MSG_DONTWAIT) :]
        except OSError as error:
            if not isinstance(error, BlockingIOError) or len(self._rest) > MOST_WAITING:
                # Half a command may be on its way. Closing it may have to wait.
                self._silent, self._broken = None, True

    def _prepare(self) -> None:
        if self._broken:
            raise RedisConnectionError("the connection on which begins are told broke")
        if self._connection is None:
            # Made, not taken: a small pool has none to spare.
            self._connection = self._pool.connection_class(**self._pool.connection_kwargs)
            self._connection.connect()
        if self._connection._sock is not self._silent:  # noqa: SLF001 - redis-py says it nowhere else
            self._rest = b""
            # Only this one of the two is answered, a refusal included.
            self._connection.send_command("CLIENT", "REPLY", "ON")
            self._connection.read_response()
            self._send(self._connection.pack_command("CLIENT", "REPLY", "OFF"))
            self._silent = self._connection._sock  # noqa: SLF001

    def _send(self, packed: Any) -> None:
        # A check of its health would wait for an answer.
        self._connection.send_packed_command(packed, check_health=False)

    def close(self) -> None:
        """Close the connection; the next call connects again."""
        self._silent, self._broken = None, False
        self._rest = b""
        if self._connection is not None:
            self._connection.disconnect()
