"""
psycopg2 under gevent: connections of the pool.

With a wait callback psycopg2 itself can neither COPY nor use large objects: see
`copy` and `large_objects`. Replication it refuses, with an exception.
"""

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FunctionType
from typing import Any
from weakref import WeakSet

import gevent
import psycopg2
from psycopg2 import extensions

from task_server.worker.database.connection import PooledConnection
from task_server.worker.database.psycopg2.copy import Copy
from task_server.worker.database.psycopg2.cursors import with_copy
from task_server.worker.database.psycopg2.large_objects import LargeObject
from task_server.worker.database.psycopg2.wait import (
    CANCEL_TIMEOUT,
    cancel,
    connect_timeout,
    wait_for_socket,
)


class Psycopg2Connection(extensions.connection):
    """A connection whose `close` checks it in."""

    _pooled: PooledConnection | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: WeakSet[extensions.cursor] = WeakSet()

    def _check_out(self, pooled: PooledConnection) -> None:
        self._pooled = pooled
        pooled.check_out(self)

    def close(self) -> None:
        """Return the connection to the pool; it counts as closed from now on."""
        pooled, self._pooled = self._pooled, None
        if pooled is not None:
            pooled.check_in(self)

    @property
    def closed(self) -> int:
        """0 while a task may use it."""
        return super().closed if self._pooled is not None else 1

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Return a cursor; it is closed at the end of this use of the connection at the latest."""
        if self._pooled is None:
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
        for name in set(self.__dict__) - {"_cursors"}:
            del self.__dict__[name]
        # psycopg2 sets DateStyle once, at the connect, when the server's is
        # not ISO; the reset has undone that.
        return (self.get_parameter_status("DateStyle") or "").startswith("ISO")

    def _destroy(self) -> None:
        if self._is_active():
            # Another greenlet waits in it, with a lock of psycopg2's that a
            # close would wait for, in C.
            cancel(self)
            with gevent.Timeout(CANCEL_TIMEOUT, False):
                while self._is_active():
                    gevent.sleep(0.01)
        if self._is_active():
            with suppress(OSError), socket.socket(fileno=os.dup(self.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)
            return
        super().close()

    def _is_active(self) -> bool:
        if super().closed:
            return False
        return self.get_transaction_status() == extensions.TRANSACTION_STATUS_ACTIVE


class Psycopg2Driver:
    """
    What the pool needs to know of psycopg2.

    A connection that is used again goes through *connect* as well, which does
    not connect then: what has wrapped it sees each use, as without a pool.

    Args:
        connect: Returns what Django would call to connect. Called each time,
            for an instrumentation may wrap it at any moment.
    """

    name = "psycopg2"
    error: type[Exception] = psycopg2.OperationalError

    def __init__(self, connect: Callable[[], Callable[..., Any]]) -> None:
        self._connect = connect

    def key_part(self) -> Any:
        """Return what connections must share beside their parameters: nothing."""
        return None

    def connect(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return a new connection, and what *connect* made of it."""
        base = params.get("connection_factory")
        factory: Any = Psycopg2Connection
        if base is not None:
            factory = type("Psycopg2Connection", (Psycopg2Connection, base), {})
        seconds = connect_timeout(params)
        expired = psycopg2.OperationalError(f"connection timeout expired after {seconds:g} seconds")
        made: list[Any] = []

        def make(*args: Any, **kwargs: Any) -> Any:
            made.append(factory(*args, **kwargs))
            return made[0]

        with gevent.Timeout(seconds, expired):
            outer = self._connect()(**{**params, "connection_factory": make})
        if not made:
            outer.close()
            message = (
                "what wraps psycopg2.connect here replaces `connection_factory`, so that "
                "database_connections cannot be enforced; leave that argument as it is"
            )
            raise psycopg2.NotSupportedError(message)
        return made[0], outer

    def fileno(self, dbapi: Any) -> int:
        """Return the socket of the connection."""
        return int(dbapi.fileno())

    def wrap(self, dbapi: Any, params: Mapping[str, Any], pooled: PooledConnection) -> Any:
        """Check the connection out."""
        outer, pooled.connect_result = pooled.connect_result, None
        if outer is None:
            connect = self._connect()
            if _is_own(connect):
                outer = dbapi
                dbapi.cursor_factory = params.get("cursor_factory")
            else:
                outer = connect(**{**params, "connection_factory": lambda *_, **__: dbapi})
        dbapi._check_out(pooled)  # noqa: SLF001 a class of this module
        return outer

    def reset(self, dbapi: Any) -> bool:
        """Reset the session; False if a query or COPY is in progress."""
        return bool(dbapi._reset())  # noqa: SLF001 a class of this module

    def ping(self, dbapi: Any) -> None:
        """Ask for an answer."""
        dbapi.autocommit = True
        dbapi._run("SELECT 1")  # noqa: SLF001 a class of this module
        dbapi.autocommit = False

    def close(self, dbapi: Any) -> None:
        """Close the client's side. What ran was cancelled when its wait ended."""
        dbapi._destroy()  # noqa: SLF001 a class of this module


def _is_own(connect: Any) -> bool:
    """Whether *connect* is psycopg2's own, which nothing has wrapped."""
    return type(connect) is FunctionType and connect.__code__.co_filename == psycopg2.__file__
