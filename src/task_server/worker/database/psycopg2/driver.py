"""
psycopg2 under gevent: the wait callback, and connections of the pool.

psycopg2 waits in C, which stops every greenlet, unless a callback waits for it.
With a callback psycopg2 itself can neither COPY nor use large objects: see
`green_copy` and `green_lobject`. Replication it refuses, with an exception.
"""

import os
import select
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FunctionType
from typing import Any
from weakref import WeakSet, finalize, ref

import gevent
import psycopg2
from gevent import monkey
from gevent import socket as green_socket
from gevent._hub_local import get_hub_if_exists
from psycopg2 import extensions

from task_server.worker.database.pool import Lease, Pool
from task_server.worker.database.psycopg2_copy import Copy, copy_sql
from task_server.worker.database.psycopg2_large_objects import LargeObject

#: Seconds the server may take to accept the request to cancel a query.
CANCEL_SECONDS = 5.0
#: Seconds a connect may take to each host: psycopg 3's default. Under a callback
#: psycopg2 knows none of its own, not even `connect_timeout`.
CONNECT_SECONDS = 130

#: Gevent's own would need a loop in each thread.
_poll = monkey.get_original("select", "poll")


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
            if state in (extensions.POLL_READ, extensions.POLL_WRITE):
                wait_for_socket(connection.fileno(), write=state == extensions.POLL_WRITE)
            else:
                message = f"psycopg2 returned the state {state!r}"
                raise psycopg2.OperationalError(message)  # noqa: TRY301 as psycopg2 itself
    except psycopg2.Error:
        raise
    except BaseException:
        if connection.status != extensions.STATUS_SETUP:
            cancel(connection)
        raise


def wait_for_socket(descriptor: int, *, write: bool) -> None:
    """Wait until *descriptor* can be read or written; a thread without a loop waits itself."""
    if get_hub_if_exists() is not None:
        (green_socket.wait_write if write else green_socket.wait_read)(descriptor)
        return
    poll = _poll()
    poll.register(descriptor, select.POLLOUT if write else select.POLLIN)
    poll.poll()


def cancel(connection: extensions.connection) -> None:
    """
    Ask the server to cancel the query of *connection*.

    libpq blocks while it asks, so that a thread of the hub does it. A second
    kill during the wait does not hurry it; the time is bounded.
    """
    if get_hub_if_exists() is None:
        _cancel(connection)
        return
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
        lease.lent = ref(self)
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
        # (name, cursor_factory, withhold, scrollable), as psycopg2 has them.
        kwargs.update(zip(("name", "cursor_factory", "withhold", "scrollable"), args, strict=False))
        own: Any = self.cursor_factory
        kwargs["cursor_factory"] = with_copy(
            kwargs.get("cursor_factory") or own or extensions.cursor
        )
        cursor = super().cursor(**kwargs)
        self._cursors.add(cursor)
        return cursor

    def lobject(self, *args: Any, **kwargs: Any) -> Any:
        """Return a large object, as psycopg2 does."""
        kwargs.update(zip(("oid", "mode", "new_oid", "new_file"), args, strict=False))
        factory = kwargs.pop("lobject_factory", None) or args[4:]
        if factory:
            raise psycopg2.NotSupportedError(
                "`lobject_factory` does not work in a gevent worker; use one with prefork"
            )
        return LargeObject(self, **kwargs)

    def _copy(self, sql: Any, file: Any, size: int) -> int:
        if not self.autocommit and self.status == extensions.STATUS_READY:
            # psycopg2 begins a transaction with the first command that it sends.
            self._run("SHOW transaction_read_only")
        try:
            return Copy(self, wait_for_socket).run(sql, file, size)
        except psycopg2.OperationalError:
            if self.get_transaction_status() == extensions.TRANSACTION_STATUS_UNKNOWN:
                super().close()
            raise
        except psycopg2.Error:
            raise
        except BaseException:
            # In the middle of an answer, as in `wait`.
            cancel(self)
            super().close()
            raise

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
        if self._is_active():
            # Another greenlet waits in it, with a lock of psycopg2's that a
            # close would wait for, in C.
            cancel(self)
            with gevent.Timeout(CANCEL_SECONDS, False):
                while self._is_active():
                    gevent.sleep(0.01)
        if self._is_active():
            with suppress(OSError), socket.socket(fileno=os.dup(self.fileno())) as ours:
                ours.shutdown(socket.SHUT_RDWR)
            return
        super().close()

    def _is_active(self) -> bool:
        if super().closed:
            return False
        return self.get_transaction_status() == extensions.TRANSACTION_STATUS_ACTIVE


class CopyCursor:
    """What a cursor needs to COPY; goes before the class of the cursor."""

    _copied: tuple[Any, int] | None = None

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        """COPY as *sql* says, from *file* or to it."""
        cursor: Any = self
        if cursor.closed:
            raise psycopg2.InterfaceError("cursor already closed")
        rows = cursor.connection._copy(sql, file, size)  # noqa: SLF001 a class of this module
        self._copied = cursor.query, rows

    def copy_from(  # noqa: PLR0917 psycopg2's shape
        self,
        file: Any,
        table: str,
        sep: str = "\t",
        null: str = "\\N",
        size: int = 8192,
        columns: Any = None,
    ) -> None:
        """Add the rows of *file* to *table*."""
        connection = self.connection  # type: ignore[attr-defined]
        self.copy_expert(copy_sql(connection, table, sep, null, columns, into=True), file, size)

    def copy_to(
        self, file: Any, table: str, sep: str = "\t", null: str = "\\N", columns: Any = None
    ) -> None:
        """Write the rows of *table* to *file*."""
        connection = self.connection  # type: ignore[attr-defined]
        self.copy_expert(copy_sql(connection, table, sep, null, columns, into=False), file)

    @property
    def rowcount(self) -> int:
        """Return the rows of the last command; psycopg2 does not know of the COPY."""
        parent: Any = super()
        # Each command that psycopg2 sends leaves another `query`.
        if self._copied is not None and self._copied[0] is parent.query:
            return self._copied[1]
        return int(parent.rowcount)


_plain = type("CopyCursor", (CopyCursor, extensions.cursor), {})


def with_copy(kind: Any) -> Any:
    """Return the class of cursors *kind* with COPY; a factory that is no class as it is."""
    if kind is extensions.cursor:
        return _plain
    if not isinstance(kind, type) or issubclass(kind, CopyCursor):
        return kind
    # An instrumentation may make a class for each connection: none is kept here.
    found = kind.__dict__.get("_with_copy")
    if found is None:
        found = type(kind.__name__, (CopyCursor, kind), {})
        kind._with_copy = found  # type: ignore[attr-defined]  # noqa: SLF001
    return found


class Psycopg2:
    """
    What the pool needs to know of psycopg2.

    A connection that is used again goes through *connect* as well, which does
    not connect then: what has wrapped it sees each use, as without a pool.

    Args:
        connect: Returns what Django would call to connect. Asked each time,
            for an instrumentation may wrap it whenever it likes.
    """

    name = "psycopg2"
    error: type[Exception] = psycopg2.OperationalError

    def __init__(self, connect: Callable[[], Callable[..., Any]]) -> None:
        self._connect = connect

    def flavour(self) -> Any:
        """Return what connections must have in common beside their parameters: nothing."""
        return None

    def connect(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return a new connection, without a lease yet, and what *connect* made of it."""
        base = params.get("connection_factory")
        factory: Any = PooledConnection
        if base is not None:
            factory = type("PooledConnection", (PooledConnection, base), {})
        seconds = connect_seconds(params)
        late = psycopg2.OperationalError(f"connection timeout expired after {seconds:g} seconds")
        made: list[Any] = []

        def make(*args: Any, **kwargs: Any) -> Any:
            made.append(factory(*args, **kwargs))
            return made[0]

        with gevent.Timeout(seconds, late):
            outer = self._connect()(**{**params, "connection_factory": make})
        if not made:
            outer.close()
            message = (
                "what wraps psycopg2.connect here replaces `connection_factory`, so that "
                "database_connections could not be kept; leave that argument as it is"
            )
            raise psycopg2.NotSupportedError(message)
        return made[0], outer

    def fileno(self, raw: Any) -> int:
        """Return the socket of the connection."""
        return int(raw.fileno())

    def adopt(self, raw: Any, params: Mapping[str, Any], lease: Lease, pool: Pool) -> Any:
        """Hand the connection out under *lease*."""
        outer, lease.outer = lease.outer, None
        if outer is None:
            connect = self._connect()
            if _is_own(connect):
                outer = raw
                raw.cursor_factory = params.get("cursor_factory")
            else:
                outer = connect(**{**params, "connection_factory": lambda *_, **__: raw})
        raw._hand_out(lease, pool)  # noqa: SLF001 a class of this module
        return outer

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


def _is_own(connect: Any) -> bool:
    """Tell whether *connect* is psycopg2's own, which nothing has wrapped."""
    return type(connect) is FunctionType and connect.__code__.co_filename == psycopg2.__file__
