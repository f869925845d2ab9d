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

import gevent
import psycopg  # type: ignore[import-not-found,unused-ignore]
from psycopg import pq  # type: ignore[import-not-found,unused-ignore]
from psycopg.adapt import AdaptersMap  # type: ignore[import-not-found,unused-ignore]

from task_server.worker.database.connection import PooledConnection

#: Seconds the server may take to accept the request to cancel a query.
CANCEL_TIMEOUT = 5.0

#: The libpq connections, by id, that a greenlet or thread waits for just now. psycopg's
#: own lock lets only one wait for each.
_waited_for: set[int] = set()


def _closed_pgconn() -> Any:
    """Return a libpq connection that is closed, without a socket ever opened."""
    connection = pq.PGconn.connect_start(b"host=/nonexistent")
    connection.finish()
    return connection


class Psycopg3Connection(psycopg.Connection[Any]):  # type: ignore[misc,unused-ignore]
    """A connection whose `close` checks it in."""

    _pooled: PooledConnection | None = None
    pgconn: Any

    def _check_out(self, pooled: PooledConnection) -> None:
        self._pooled = pooled
        pooled.check_out(self)

    def _attach(self, pgconn: Any) -> None:
        self.pgconn = pgconn
        self._closed = False

    def _detach(self) -> Any:
        pgconn, self.pgconn = self.pgconn, _closed_pgconn()
        self._closed = True
        return pgconn

    def close(self) -> None:
        """Return the connection to the pool; this object is closed from now on."""
        pooled, self._pooled = self._pooled, None
        if pooled is None:
            super().close()
            return
        pooled.check_in(self._detach())

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """
        Wait as psycopg does; when the greenlet is killed in it, close.

        psycopg would leave the connection in the middle of an answer.
        """
        pgconn = id(self.pgconn)
        _waited_for.add(pgconn)
        try:
            try:
                return super().wait(*args, **kwargs)
            finally:
                _waited_for.discard(pgconn)
        except psycopg.Error:
            raise
        except BaseException:
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                self.close()
            raise


#: Classes of connections that an instrumentation has put in the place of psycopg's own.
_classes: dict[Any, Any] = {psycopg.Connection: Psycopg3Connection}


def _class_for(base: Any) -> Any:
    """Return the class of a connection that is a *base* and of the pool."""
    if base not in _classes:
        _classes[base] = type("Psycopg3Connection", (Psycopg3Connection, base), {})
    return _classes[base]


class Psycopg3Driver:
    """
    What the pool needs to know of psycopg 3; a dbapi connection is a `PGconn` here.

    Args:
        connect: Returns what Django would call to connect. Called each time,
            for an instrumentation may wrap it at any moment.
    """

    name = "psycopg"
    error: type[Exception] = psycopg.OperationalError

    def __init__(self, connect: Callable[[], Callable[..., Any]]) -> None:
        self._connect = connect

    def key_part(self) -> Any:
        """Return what connections must share beside their parameters: what made them."""
        return self._connect()

    def connect(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the libpq connection of a new connection, and the connection without it."""
        outer = inner = self._connect()(**params)
        while not issubclass(type(inner), psycopg.Connection):
            inner = inner.__wrapped__
        inner.__class__ = _class_for(type(inner))
        return inner._detach(), outer  # noqa: SLF001 a class of this module

    def fileno(self, dbapi: Any) -> int:
        """Return the socket of the connection."""
        return int(dbapi.socket)

    def wrap(self, dbapi: Any, params: Mapping[str, Any], pooled: PooledConnection) -> Any:
        """Check the connection out: a new object, with what `connect` gave the first one."""
        outer, pooled.connect_result = pooled.connect_result, None
        connection = outer
        if outer is None:
            outer = connection = self._from_template(dbapi, params, pooled.template)
        elif not issubclass(type(outer), psycopg.Connection):
            # A proxy, which cannot be made a second time: one use, as without a pool.
            pooled.key = None
            while not issubclass(type(connection), psycopg.Connection):
                connection = connection.__wrapped__
        connection._attach(dbapi)  # noqa: SLF001 a class of this module
        cursor_factories = connection.cursor_factory, connection.server_cursor_factory
        pooled.template = type(connection), *cursor_factories
        connection._check_out(pooled)  # noqa: SLF001 a class of this module
        return outer

    @staticmethod
    def _from_template(
        pgconn: Any, params: Mapping[str, Any], template: tuple[Any, Any, Any]
    ) -> Any:
        kind, cursor_factory, server_cursor_factory = template
        connection = kind(pgconn)
        connection.autocommit = bool(params.get("autocommit", False))
        if row_factory := params.get("row_factory"):
            connection.row_factory = row_factory
        connection.cursor_factory = cursor_factory
        connection.server_cursor_factory = server_cursor_factory
        if context := params.get("context"):
            connection._adapters = AdaptersMap(context.adapters)  # noqa: SLF001 as psycopg does
        connection.prepare_threshold = params.get("prepare_threshold", 5)
        return connection

    def reset(self, dbapi: Any) -> bool:
        """Reset the session; False if a query or COPY is in progress."""
        if dbapi.transaction_status != pq.TransactionStatus.IDLE or id(dbapi) in _waited_for:
            return False
        self._run(dbapi, "DISCARD ALL")
        return True

    def ping(self, dbapi: Any) -> None:
        """Ask for an answer."""
        self._run(dbapi, "SELECT 1")

    def close(self, dbapi: Any) -> None:
        """Cancel what runs, and close the client's side once no greenlet waits for it."""
        if _is_in_query(dbapi):
            # libpq blocks while it asks, so that a thread of the hub does it.
            cancel = dbapi.get_cancel()
            gevent.get_hub().threadpool.spawn(_cancel, cancel).wait(CANCEL_TIMEOUT)
            with gevent.Timeout(CANCEL_TIMEOUT, False):
                _until_left(dbapi)
        if id(dbapi) in _waited_for:
            # The end of the stream wakes the greenlet. Not a close: libev aborts
            # the process when it meets a watcher of a closed descriptor.
            with suppress(OSError, psycopg.Error), _duplicate(dbapi) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)
            _until_left(dbapi)
        dbapi.finish()

    @staticmethod
    def _run(pgconn: Any, sql: str) -> None:
        connection = Psycopg3Connection(pgconn)
        connection.autocommit = True
        try:
            connection.execute(sql)
        finally:
            connection._detach()  # noqa: SLF001 a class of this module


def _duplicate(pgconn: Any) -> socket.socket:
    return socket.socket(fileno=os.dup(pgconn.socket))


def _is_in_query(pgconn: Any) -> bool:
    if pgconn.status != pq.ConnStatus.OK:
        return False
    return bool(pgconn.transaction_status == pq.TransactionStatus.ACTIVE)


def _until_left(pgconn: Any) -> None:
    while id(pgconn) in _waited_for:
        gevent.sleep(0.01)


def _cancel(request: Any) -> None:
    # The server is gone, or has ended the query: nothing is left to cancel.
    with suppress(psycopg.Error):
        request.cancel()
