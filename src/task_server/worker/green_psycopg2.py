"""
psycopg2 under gevent: the wait callback, and connections of the pool.

psycopg2 waits in C, which stops every greenlet, unless a callback waits for it.
With a callback psycopg2 can neither COPY nor use large objects: it says so with
an exception.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakSet, finalize

import gevent
import psycopg2
from gevent import socket as green_socket
from psycopg2 import extensions

from task_server.worker.green_pool import Lease, Pool

#: Seconds the server may take to accept the request to cancel a query.
CANCEL_SECONDS = 5.0
#: Seconds a connect may take to each host: psycopg 3's default. Under a callback
#: psycopg2 knows none of its own, not even `connect_timeout`.
CONNECT_SECONDS = 130


def wait(connection: extensions.connection) -> None:
    """
    Wait until *connection* has done what it was asked to; let others run.

    The wait may end with an exception (`GreenletExit`, `gevent.Timeout`). The
    query is then cancelled on the server, for it would run on for nobody, and
    psycopg2 closes the connection, which is in the middle of an answer.
    """
    try:
        while True:
            state = connection.poll()
            if state == extensions.POLL_OK:
                return
            if state == extensions.POLL_READ:
                green_socket.wait_read(connection.fileno())
            elif state == extensions.POLL_WRITE:
                green_socket.wait_write(connection.fileno())
            else:
                message = f"psycopg2 returned the state {state!r}"
                raise psycopg2.OperationalError(message)  # noqa: TRY301 as psycopg2 itself
    except psycopg2.Error:
        raise
    except BaseException:
        if connection.status != extensions.STATUS_SETUP:
            cancel(connection)
        raise


def cancel(connection: extensions.connection) -> None:
    """
    Ask the server to cancel the query of *connection*.

    libpq blocks while it asks, so that a thread of the hub does it. A second
    kill during the wait does not hurry it; the time is bounded.
    """
    asked = gevent.get_hub().threadpool.spawn(_cancel, connection)
    try:
        asked.wait(CANCEL_SECONDS)
    except BaseException:  # noqa: BLE001 the first exception is the one to tell
        asked.wait(CANCEL_SECONDS)


def _cancel(connection: extensions.connection) -> None:
    try:
        connection.cancel()
    except psycopg2.Error:
        return  # already closed, or the server is gone: nothing is left to cancel


def connect_seconds(params: Mapping[str, Any]) -> float:
    """Return how long a connect may take: `connect_timeout` or its variable, else 130 s."""
    seconds = CONNECT_SECONDS
    with suppress(TypeError, ValueError):
        value = int(params.get("connect_timeout", os.environ.get("PGCONNECT_TIMEOUT", "0")))
        if value > 0:
            # libpq, too, takes anything below two seconds for two.
            seconds = max(2, value)
    return float(seconds * (str(params.get("host", "")).count(",") + 1))


class PooledConnection(extensions.connection):
    """A connection whose `close` gives it back to the pool."""

    _pool: Pool | None = None
    _lease: Lease | None = None
    _finalizer: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: WeakSet[extensions.cursor] = WeakSet()

    def _hand_out(self, lease: Lease, pool: Pool) -> None:
        self._lease, self._pool = lease, pool
        self._finalizer = finalize(self, pool.lost, lease)
        self._finalizer.atexit = False

    def close(self) -> None:
        """Give the connection back; it counts as closed from now on."""
        lease, self._lease = self._lease, None
        if lease is None or self._pool is None:
            return
        self._finalizer.detach()
        self._pool.take_back(lease, self)

    @property
    def closed(self) -> int:
        """Return 0 while a task may use it."""
        return super().closed if self._lease is not None else 1

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Return a cursor; remember it, for it must not outlive this use of the connection."""
        if self._lease is None:
            raise psycopg2.InterfaceError("connection already closed")
        cursor = super().cursor(*args, **kwargs)
        self._cursors.add(cursor)
        return cursor

    def _run(self, sql: str) -> None:
        with super().cursor(cursor_factory=extensions.cursor) as cursor:
            cursor.execute(sql)

    def _reset(self) -> bool:
        # A generator that was never finished may still have a cursor, and
        # would close it in the middle of another task.
        for cursor in list(self._cursors):
            cursor.close()
        self._cursors.clear()
        if self.get_transaction_status() != extensions.TRANSACTION_STATUS_IDLE:
            return False
        self.set_session(
            isolation_level="default", readonly="default", deferrable="default", autocommit=True
        )
        self._run("DISCARD ALL")
        self.autocommit = False
        # What Django, a signal or an instrumentation may have put on it.
        self.string_types.clear()
        self.binary_types.clear()
        del self.notices[:]
        del self.notifies[:]
        self.cursor_factory = None  # type: ignore[assignment]
        for name in set(self.__dict__) - {"_cursors", "_pool"}:
            del self.__dict__[name]
        # psycopg2 sets DateStyle once, at the connect, when the server's is
        # not ISO; the reset has undone that.
        return (self.get_parameter_status("DateStyle") or "").startswith("ISO")

    def _destroy(self) -> None:
        super().close()


class Psycopg2:
    """What the pool needs to know of psycopg2."""

    name = "psycopg2"
    error: type[Exception] = psycopg2.OperationalError

    def connect(self, params: Mapping[str, Any]) -> Any:
        """Return a new connection, without a lease yet."""
        base = params.get("connection_factory")
        factory: Any = PooledConnection
        if base is not None:
            factory = type("PooledConnection", (PooledConnection, base), {})
        seconds = connect_seconds(params)
        late = psycopg2.OperationalError(f"connection timeout expired after {seconds:g} seconds")
        with gevent.Timeout(seconds, late):
            # Looked up at each call: an instrumentation may have wrapped it.
            return psycopg2.connect(**{**params, "connection_factory": factory})

    def fileno(self, raw: Any) -> int:
        """Return the socket of the connection."""
        return int(raw.fileno())

    def adopt(self, raw: Any, params: Mapping[str, Any], lease: Lease, pool: Pool) -> Any:
        """Hand the connection out under *lease*."""
        if params.get("cursor_factory") is not None:
            raw.cursor_factory = params["cursor_factory"]
        raw._hand_out(lease, pool)  # noqa: SLF001 a class of this module
        if type(raw).__module__ != __name__:
            # An instrumentation returned a wrapper of its own, which we could
            # not hand out a second time.
            lease.key = None
        return raw

    def reset(self, raw: Any) -> bool:
        """Make the session as good as new; False if it is in the middle of something."""
        return bool(raw._reset())  # noqa: SLF001 a class of this module

    def probe(self, raw: Any) -> None:
        """Ask for an answer."""
        raw.autocommit = True
        raw._run("SELECT 1")  # noqa: SLF001 a class of this module
        raw.autocommit = False

    def destroy(self, raw: Any) -> None:
        """Close the client's side. What ran was cancelled when its wait ended."""
        raw._destroy()  # noqa: SLF001 a class of this module
