"""Open connections that no task has, kept for a while for the next connect."""

import select
import time
from collections.abc import Callable

import gevent
from gevent import monkey

from task_server.worker.database.connection import Key, PooledConnection

#: Gevent's own would switch to another greenlet.
_poll = monkey.get_original("select", "poll")


class IdleConnections:
    """
    Idle connections, the longest unused first.

    Args:
        close: Closes one that has been idle for too long; called in a greenlet
            of its own, after `on_expiry`.

        on_expiry: Called, without a switch, when one is taken out to be closed.

        max_idle: Seconds an unused connection is kept.
    """

    def __init__(
        self,
        close: Callable[[PooledConnection], None],
        on_expiry: Callable[[], None],
        max_idle: float,
    ) -> None:
        self._close = close
        self._on_expiry = on_expiry
        self._max_idle = max_idle
        #: At most the limiter's limit, so a list is quick enough.
        self._connections: list[PooledConnection] = []
        self._sweeping = False

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, pooled: PooledConnection) -> None:
        """Keep *pooled*, which is idle from now on."""
        pooled.idle_since = time.monotonic()
        self._connections.append(pooled)
        if not self._sweeping:
            self._sweeping = True
            gevent.spawn_later(self._max_idle, self._sweep)

    def put_back(self, pooled: PooledConnection) -> None:
        """Keep *pooled*, which was taken out and not used."""
        self._connections.append(pooled)

    def pop(self, key: Key | None) -> PooledConnection | None:
        """Take out the one that was used last with *key*: its caches are warm, others expire."""
        for index in range(len(self._connections) - 1, -1, -1):
            if key is not None and self._connections[index].key == key:
                return self._connections.pop(index)
        return None

    def pop_oldest(self) -> PooledConnection:
        """Take out the one that has been idle the longest."""
        return self._connections.pop(0)

    def _sweep(self) -> None:
        """Close what has been idle for too long."""
        now = time.monotonic()
        old = [one for one in self._connections if now - one.idle_since >= self._max_idle]
        self._connections = [one for one in self._connections if one not in old]
        for pooled in old:
            self._on_expiry()
            gevent.spawn(self._close, pooled)
        self._sweeping = bool(self._connections)
        if self._connections:
            oldest = min(one.idle_since for one in self._connections)
            gevent.spawn_later(oldest + self._max_idle - now, self._sweep)


def is_alive(pooled: PooledConnection) -> bool:
    """Whether the socket is silent: the end of the stream, or a last message, is not."""
    poll = _poll()
    poll.register(pooled.descriptor, select.POLLIN | select.POLLRDHUP)
    return not poll.poll(0)
