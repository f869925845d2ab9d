"""
How an idle worker is notified that a queue has a message, without taking it.

Redis has no blocking command that waits on several lists and takes nothing:
BRPOP takes, and a taken message is lost with a killed worker; BLMOVE keeps it,
but waits on one list only, so on four connections a queue (one a priority).
CLIENT TRACKING does: the server remembers which keys a connection has read and
notifies a second connection, once, when one of them changes.

The first connection names the reads that count (OPTIN): the scripts also read
what all workers of a queue write, and each of those writes would wake all others.
"""

# ruff: noqa: SLF001 - Kombu's transports are made of private methods

import logging
from typing import Any, Final

from redis.exceptions import ResponseError

logger: Final = logging.getLogger(__name__)

#: The channel on which a server announces changed keys under RESP2.
INVALIDATION: Final = "__redis__:invalidate"

#: Sent before a command whose keys are to be tracked; it has a reply of its own.
CACHING_YES: Final = ("CLIENT", "CACHING", "YES")

#: Bytes that are read at a time.
READ_SIZE: Final = 65536


class InvalidationListener:
    """
    The second connection: whatever arrives on it means that a queue changed.

    Attributes:
        client: The client that owns the connection, as Kombu's poller wants it.
    """

    def __init__(self, client: Any) -> None:
        self.client: Any = client
        self._target: int | None = None
        self._tracked: object = None
        self._socket: object = None

    def subscribe(self, reader: Any) -> None:
        """
        Let the server notify this connection of changes of the keys that *reader* reads.

        Raises:
            ResponseError: The server, or a proxy, does not offer it, or the
                user may not.
        """
        own = self.client.connection
        if own._sock is not self._socket or self._target is None:
            own.send_command("CLIENT", "ID")
            target = own.read_response()
            if getattr(own, "protocol", 2) not in (3, "3"):
                # With RESP3 the server pushes without a subscription.
                own.send_command("SUBSCRIBE", INVALIDATION)
                own.read_response()
            self._socket, self._target, self._tracked = own._sock, target, None
        if self._tracked is not reader._sock:
            reader.send_command("CLIENT", "TRACKING", "OFF")
            reader.read_response()
            how = ("REDIRECT", self._target, "OPTIN", "NOLOOP")
            reader.send_command("CLIENT", "TRACKING", "ON", *how)
            reader.read_response()
            # An ACL can deny this subcommand alone; find out now.
            reader.send_command(*CACHING_YES)
            reader.read_response()
            self._tracked = reader._sock

    def discard(self) -> bool:
        """
        Read and discard what has arrived; return False if the connection is closed.

        The content does not matter, so that half a message does no harm.
        """
        sock = self.client.connection._sock
        if sock is None:
            return False
        before = sock.gettimeout()
        sock.settimeout(0)
        try:
            while data := sock.recv(READ_SIZE):
                # A poll does not show what a TLS socket has decrypted already.
                if len(data) < READ_SIZE and not hasattr(sock, "pending"):
                    return True
        except (BlockingIOError, TimeoutError):
            return True
        except OSError as error:
            # A TLS socket has its own error for having no more to read.
            return "Want" in type(error).__name__
        finally:
            sock.settimeout(before)
        return False

    def close(self) -> None:
        """Close the connection."""
        connection, self._target = self.client.connection, None
        if connection is not None:
            # While it is the client's: Kombu then stops polling it.
            connection.disconnect()
        self.client.connection = None


def warn_untracked(error: ResponseError) -> None:
    """Log once that the server does not announce changed keys."""
    logger.warning(
        "Redis does not notify this worker of new messages (CLIENT TRACKING: %s); "
        "an idle worker polls ten times a second instead",
        error,
    )
