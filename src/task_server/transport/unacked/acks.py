"""The acknowledgements of one channel, until the server has them."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from redis.exceptions import ResponseError

from task_server.transport.store.client import Store
from task_server.transport.unacked.native import copied
from task_server.transport.unacked.pending import Pending

logger: Final = logging.getLogger(__name__)

#: Most acknowledgements in one call; Lua's stack is limited to some 8000.
MAX_ACKS: Final = 1000


class Acks:
    """
    The one buffer of acknowledgements: sent at once, or with the next fetch.

    Args:
        store: The channel's Redis.

        pending: What earlier connections left.

        is_connected: Whether the channel still has its connection.

        can_wait: Whether a fetch is due that will send acknowledgements.
    """

    def __init__(
        self,
        store: Store,
        pending: Pending,
        is_connected: Callable[[], bool],
        can_wait: Callable[[], bool],
    ) -> None:
        self._store = store
        self._pending = pending
        self._is_connected = is_connected
        self._can_wait = can_wait
        self._waiting: deque[str] = deque()
        self._sending: list[list[str]] = []

    def add(self, tag: str) -> None:
        """Acknowledge the message of *tag*, now or with the next fetch."""
        if not self._is_connected():
            # The connection broke while the task ran; the next one sends it.
            self._pending.acks.append(tag)
        elif self._can_wait():
            self._waiting.append(tag)
        else:
            try:
                self._send([tag])
            except self._store.errors as error:
                # Kombu gives up here, and the task runs again. Without memory, or
                # room for its file, Redis refuses, which would end the worker.
                self.defer(tag, error)

    def defer(self, tag: str, error: Exception) -> None:
        """Keep an acknowledgement that could not be sent; the first is logged."""
        level = logging.DEBUG if self else logging.WARNING
        logger.log(level, "an acknowledgement will be sent again: %s", error)
        self.put_back([tag])

    def __bool__(self) -> bool:
        """Return whether acknowledgements wait to be sent."""
        return bool(self._waiting or self._pending.acks)

    def take(self) -> list[str]:
        """Return waiting acknowledgements; the caller then calls `arrived` or `put_back`."""
        taken: list[str] = []
        # Each is added before it is removed: the thread that renews leases reads both.
        self._sending.append(taken)
        for source in (self._pending.acks, self._waiting):
            while source and len(taken) < MAX_ACKS:
                taken.append(source[0])
                source.popleft()
        if not taken:
            self._sending.pop()
        return taken

    def arrived(self, taken: list[str]) -> None:
        """Forget what `take` returned: the server has it."""
        if taken in self._sending:
            self._sending.remove(taken)

    def put_back(self, taken: list[str]) -> None:
        """
        Keep acknowledgements that may not have reached the server.

        They move to the process: while a greenlet was trying to send them, another
        may have closed the channel, which then sends nothing more.
        """
        self._pending.acks.extend(taken)
        self.arrived(taken)

    @property
    def unconfirmed(self) -> Iterator[str]:
        """The acknowledgements that are not known to have arrived; any thread may ask."""
        # They go from the first to the last, and from there back to the second.
        yield from copied(self._waiting)
        yield from copied(self._pending.acks)
        for taken in copied(self._sending):
            yield from taken
        yield from copied(self._pending.acks)

    def flush(self) -> None:
        """
        Send all waiting acknowledgements now.

        Acknowledgements that Redis rejects, out of memory or disk space, are kept for
        later.

        Raises:
            One of the connection's errors; the acknowledgements are kept.
        """
        while tags := self.take():
            try:
                self._send(tags)
                self.arrived(tags)
            except ResponseError as error:
                self.put_back(tags)
                logger.debug("acknowledgements will be sent again: %s", error)
                return
            except BaseException:
                self.put_back(tags)
                raise

    def _send(self, tags: Sequence[str]) -> None:
        keys = self._store.keys
        with self._store.client.pipeline() as pipe:
            pipe.zrem(keys.times, *tags).hdel(keys.unacked, *tags).execute()

    def hand_over(self) -> None:
        """Leave waiting acknowledgements to the next connection of this process."""
        self._pending.acks.extend(self._waiting)
        self._waiting.clear()
