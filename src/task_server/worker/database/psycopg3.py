"""
psycopg 3 under gevent: connections of the pool.

psycopg 3 waits with Python's own `select` when it finds it patched, so that it
needs no callback, only to be imported after the patch. Between two tasks the
pool keeps the libpq connection (`PGconn`) alone. Each task gets a new
`psycopg.Connection` around it, and the old one is left without any: a cursor
that outlived its task cannot reach the next task.
"""

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from weakref import finalize, ref

import gevent
import psycopg  # type: ignore[import-not-found,unused-ignore]
from psycopg import pq  # type: ignore[import-not-found,unused-ignore]
from psycopg.adapt import AdaptersMap  # type: ignore[import-not-found,unused-ignore]

from task_server.worker.database.pool import Lease, Pool

#: Seconds the server may take to accept the request to cancel a query.
CANCEL_SECONDS = 5.0


#: The libpq connections, by id, that a greenlet or thread waits for just now. psycopg's
#: own lock lets only one wait for each.
_waited_for: set[int] = set()


def _dead() -> Any:
    """Return a libpq connection that is closed, without a socket ever opened."""
    connection = pq.PGconn.connect_start(b"host=/nonexistent")
    connection.finish()
    return connection


class PooledConnection(psycopg.Connection[Any]):  # type: ignore[misc,unused-ignore]
    """A connection whose `close` gives it back to the pool."""

    _lent: tuple[Lease, Pool] | None = None
    _finalizer: Any = None
    pgconn: Any

    def _hand_out(self, lease: Lease, pool: Pool) -> None:
        self._lent = (lease, pool)
        lease.lent = ref(self)
        self._finalizer = finalize(self, pool.lost, lease)
        self._finalizer.atexit = False

    @property
    def _lease(self) -> Lease | None:
        return self._lent and self._lent[0]

    def _attach(self, raw: Any) -> None:
        self.pgconn = raw
        self._closed = False

    def _detach(self) -> Any:
        raw, self.pgconn = self.pgconn, _dead()
        self._closed = True
        return raw

    def close(self) -> None:
        """Give the connection back; this object is closed from now on."""
        lent, self._lent = self._lent, None
        if lent is None:
            super().close()
            return
        lease, pool = lent
        self._finalizer.detach()
        pool.take_back(lease, self._detach())

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """
        Wait as psycopg does; when the greenlet is killed in it, close.

        psycopg would leave the connection in the middle of an answer.
        """
        raw = id(self.pgconn)
        _waited_for.add(raw)
        try:
            try:
                return super().wait(*args, **kwargs)
            finally:
                _waited_for.discard(raw)
        except psycopg.Error:
            raise
        except BaseException:
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                self.close()
            raise


#: Classes of connections that an instrumentation has put in the place of psycopg's own.
_kinds: dict[Any, Any] = {psycopg.Connection: PooledConnection}


def _pooled(kind: Any) -> Any:
    """Return the class of a connection that is of *kind* and of the pool."""
    if kind not in _kinds:
        _kinds[kind] = type("PooledConnection", (PooledConnection, kind), {})
    return _kinds[kind]


class Psycopg3:
    """
    What the pool needs to know of psycopg 3; a raw connection is a `PGconn`.

    Args:
        connect: Returns what Django would call to connect. Asked each time,
            for an instrumentation may wrap it whenever it likes.
    """

    name = "psycopg"
    error: type[Exception] = psycopg.OperationalError

    def __init__(self, connect: Callable[[], Callable[..., Any]]) -> None:
        self._connect = connect

    def flavour(self) -> Any:
        """Return what connections must have in common beside their parameters: who made them."""
        return self._connect()

    def connect(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the libpq connection of a new connection, and the connection without it."""
        outer = inner = self._connect()(**params)
        while not issubclass(type(inner), psycopg.Connection):
            inner = inner.__wrapped__
        inner.__class__ = _pooled(type(inner))
        return inner._detach(), outer  # noqa: SLF001 a class of this module

    def fileno(self, raw: Any) -> int:
        """Return the socket of the connection."""
        return int(raw.socket)

    def adopt(self, raw: Any, params: Mapping[str, Any], lease: Lease, pool: Pool) -> Any:
        """Hand the connection out; in a new object, with what `connect` gave the first one."""
        outer, lease.outer = lease.outer, None
        connection = outer
        if outer is None:
            outer = connection = self._again(raw, params, lease.made)
        elif not issubclass(type(outer), psycopg.Connection):
            # A proxy, which cannot be made a second time: one use, as without a pool.
            lease.key = None
            while not issubclass(type(connection), psycopg.Connection):
                connection = connection.__wrapped__
        connection._attach(raw)  # noqa: SLF001 a class of this module
        lease.made = type(connection), connection.cursor_factory, connection.server_cursor_factory
        connection._hand_out(lease, pool)  # noqa: SLF001 a class of this module
        return outer

    @staticmethod
    def _again(raw: Any, params: Mapping[str, Any], made: tuple[Any, Any, Any]) -> Any:
        kind, cursor_factory, server_cursor_factory = made
        connection = kind(raw)
        connection.autocommit = bool(params.get("autocommit", False))
        if row_factory := params.get("row_factory"):
            connection.row_factory = row_factory
        connection.cursor_factory = cursor_factory
        connection.server_cursor_factory = server_cursor_factory
        if context := params.get("context"):
            connection._adapters = AdaptersMap(context.adapters)  # noqa: SLF001 as psycopg does
        connection.prepare_threshold = params.get("prepare_threshold", 5)
        return connection

    def reset(self, raw: Any) -> bool:
        """Make the session as good as new; False if it is in the middle of something."""
        if raw.transaction_status != pq.TransactionStatus.IDLE or id(raw) in _waited_for:
            return False
        self._run(raw, "DISCARD ALL")
        return True

    def probe(self, raw: Any) -> None:
        """Ask for an answer."""
        self._run(raw, "SELECT 1")

    def destroy(self, raw: Any) -> None:
        """Cancel what runs, and close the client's side once no greenlet waits for it."""
        if raw.status == pq.ConnStatus.OK and raw.transaction_status == pq.TransactionStatus.ACTIVE:
            # libpq blocks while it asks, so that a thread of the hub does it.
            cancel = raw.get_cancel()
            gevent.get_hub().threadpool.spawn(_cancel, cancel).wait(CANCEL_SECONDS)
            with gevent.Timeout(CANCEL_SECONDS, False):
                _until_left(raw)
        if id(raw) in _waited_for:
            # The end of the stream wakes the greenlet. Not a close: libev aborts
            # the process when it meets a watcher of a closed descriptor.
            with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(raw.socket)) as ours:
                ours.shutdown(socket.SHUT_RDWR)
            _until_left(raw)
        raw.finish()

    @staticmethod
    def _run(raw: Any, sql: str) -> None:
        connection = PooledConnection(raw)
        connection.autocommit = True
        try:
            connection.execute(sql)
        finally:
            connection._detach()  # noqa: SLF001 a class of this module


def _until_left(raw: Any) -> None:
    while id(raw) in _waited_for:
        gevent.sleep(0.01)


def _cancel(request: Any) -> None:
    # The server is gone, or has ended the query: nothing is left to cancel.
    with suppress(psycopg.Error):
        request.cancel()
