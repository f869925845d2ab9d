"""
psycopg 3 under gevent: connections of the pool.

psycopg 3 waits with Python's own `select` when it finds it patched, so that it
needs no callback, only to be imported after the patch.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import gevent
import psycopg  # type: ignore[import-not-found,unused-ignore]
from psycopg import pq  # type: ignore[import-not-found,unused-ignore]

from task_server.worker.database.psycopg3.connection import Psycopg3Connection
from task_server.worker.database.psycopg3.driver import Psycopg3Driver

#: Seconds the server may take to accept the request to cancel a query.
CANCEL_TIMEOUT = 5.0

#: The libpq connections, by id, that a greenlet or thread waits for just now. psycopg's
#: own lock lets only one wait for each.
_waited_for: set[int] = set()


class GreenPsycopg3Connection(Psycopg3Connection):
    """A connection of psycopg 3 that other greenlets may outlive."""

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


class GreenPsycopg3Driver(Psycopg3Driver):
    """What the pool of greenlets needs to know of psycopg 3; a dbapi connection is a `PGconn`."""

    connection_class = GreenPsycopg3Connection

    def connect(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the libpq connection of a new connection, and the connection without it."""
        pgconn, outer = super().connect(params)
        if pgconn is None:
            outer.close()
            message = (
                "what wraps psycopg.connect here hides its connection, so that "
                "database_connections cannot be enforced; give it the attribute __wrapped__"
            )
            raise psycopg.NotSupportedError(message)
        return pgconn, outer

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
        connection = GreenPsycopg3Connection(pgconn)
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
