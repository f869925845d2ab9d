"""Idle connections: which one is used next, and when one is closed; without a server."""

import socket
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from task_server.worker.database.connection import Key, PooledConnection
from task_server.worker.database.idle import IdleConnections, is_alive

KEY: Key = (("host", "here"),)


def connection(key: Key | None = KEY, descriptor: int = -1) -> PooledConnection:
    no_pool: Any = None  # nothing is returned to it here
    return PooledConnection(no_pool, key, None, object(), descriptor, 0.0)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_the_connection_used_last_is_used_next() -> None:
    """
    Of those with the same parameters; one without a key is never used again.
    """
    connections = IdleConnections(lambda _: None, lambda: None, 60.0)
    first, second, other = connection(), connection(), connection((("host", "there"),))
    for pooled in (first, second, other, connection(None)):
        connections.add(pooled)

    assert second is connections.pop(KEY)
    assert first is connections.pop(KEY)
    assert None is connections.pop(KEY)
    assert None is connections.pop(None)
    assert other is connections.pop_oldest()
    assert 1 == len(connections)


def test_what_is_idle_for_too_long_is_closed() -> None:
    """
    Its slot is taken before the close begins, so that the sum stays within the limit.
    """
    events: list[object] = []
    connections = IdleConnections(events.append, lambda: events.append("slot"), 0.01)
    pooled = connection()
    connections.add(pooled)
    with gevent.Timeout(10):
        while len(events) < 2:
            gevent.sleep(0.001)

    assert ["slot", pooled] == events
    assert 0 == len(connections)


@pytest.mark.parametrize("event", ["message", "end"])
def test_a_socket_with_news_is_not_alive(
    ends: tuple[socket.socket, socket.socket], event: str
) -> None:
    """
    A server that closes, or says why it will, is not used again.
    """
    ours, theirs = ends
    pooled = connection(descriptor=ours.fileno())
    before = is_alive(pooled)
    if event == "message":
        theirs.send(b"N")
    else:
        theirs.close()

    assert (True, False) == (before, is_alive(pooled))
