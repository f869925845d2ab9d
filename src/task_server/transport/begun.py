"""
Which messages' tasks have begun: told to Redis for whoever finds their worker dead.

A set of delivery tags for each worker process, beside the unacked messages. It
is written with the signs of life, and so too late for a task that kills its
worker at once. Such a task comes back marked: its payload has `deaths`, even if
it is an empty list. Of a marked message the begin is told before its task runs,
so that from the second time on nothing is guessed.
"""

from collections.abc import Collection, Mapping
from threading import Lock
from typing import Any, Final

from kombu.utils.encoding import bytes_to_str
from redis.exceptions import ResponseError

#: Seconds beyond the visibility time-out for which a dead worker's set is kept.
KEPT: Final = 86400


def key_of(unacked_key: str, run: str) -> str:
    """Return the key of the process *run* beside the complete *unacked_key*."""
    return f"{unacked_key}.begun:{run}"


def tell(
    client: Any, key: str, seconds: float, *, begun: Collection[str], ended: Collection[str] = ()
) -> None:
    """Add *begun* to the set and take *ended* out; keep it for *seconds* and a day."""
    with client.pipeline() as pipe:
        if begun:
            pipe.sadd(key, *begun)
        if ended:
            pipe.srem(key, *ended)
        pipe.expire(key, int(seconds) + KEPT).execute()


class Teller:
    """
    Tells of begins without waiting for answers.

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
        self._silent: object = None
        self._denied = False
        # Greenlets share the connection.
        self._turn = Lock()

    def tell(self, key: str, seconds: float, tags: Collection[str]) -> bool:
        """
        Send that *tags* have begun; return False if this user may not ask for silence.

        Raises:
            One of the connection's errors; the next call connects again.
        """
        with self._turn:
            if self._denied:
                return False
            try:
                self._prepare()
                commands = [("SADD", key, *tags), ("EXPIRE", key, int(seconds) + KEPT)]
                self._send(self._connection.pack_commands(commands))
            except ResponseError:
                self._denied = True
                self.close()
                return False
            except BaseException:
                self.close()
                raise
            return True

    def _prepare(self) -> None:
        if self._connection is None:
            # Made, not taken: a small pool has none to spare.
            self._connection = self._pool.connection_class(**self._pool.connection_kwargs)
            self._connection.connect()
        if self._connection._sock is not self._silent:  # noqa: SLF001 - redis-py says it nowhere else
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
        self._silent = None
        if self._connection is not None:
            self._connection.disconnect()


class Inquest:
    """
    Says which messages dead workers may have died of.

    Args:
        client: A Redis client that adds no prefix.

        unacked_key: The complete key of the unacked messages.
    """

    def __init__(self, client: Any, unacked_key: str) -> None:
        self._client = client
        self._unacked_key = unacked_key
        self._begun: dict[str, set[str]] = {}

    def is_suspect(self, tag: str, holder: Mapping[str, Any], *, marked: bool) -> bool:
        """
        Return whether the worker *holder* may have died of the message *tag*.

        If it told of no begun task at all one of those that it held must have
        been the cause: then each is, unless it was *marked*, for it would have
        told of that one. A holder without `run` does not tell.
        """
        run = holder.get("run")
        if not run:
            return True
        if run not in self._begun:
            members = self._client.smembers(key_of(self._unacked_key, run))
            self._begun[run] = {bytes_to_str(member) for member in members}
        begun = self._begun[run]
        return tag in begun or not (begun or marked)
