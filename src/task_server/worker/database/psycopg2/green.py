"""
psycopg2 under gevent: connections of the pool.

With a wait callback psycopg2 itself can neither COPY nor use large objects: see
`copy` and `large_objects`. Replication it refuses, with an exception.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import gevent
import psycopg2
from psycopg2 import extensions

from task_server.worker.database.psycopg2.connection import Psycopg2Connection
from task_server.worker.database.psycopg2.copy import Copy
from task_server.worker.database.psycopg2.cursors import with_copy
from task_server.worker.database.psycopg2.driver import Psycopg2Driver
from task_server.worker.database.psycopg2.large_objects import LargeObject
from task_server.worker.database.psycopg2.wait import (
    CANCEL_TIMEOUT,
    cancel,
    connect_timeout,
    wait_for_socket,
)


class GreenPsycopg2Connection(Psycopg2Connection):
    """A connection of psycopg2 whose COPY and large objects let other greenlets run."""

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Return a cursor that can COPY."""
        # (name, cursor_factory, withhold, scrollable), as psycopg2 has them.
        kwargs.update(zip(("name", "cursor_factory", "withhold", "scrollable"), args, strict=False))
        own: Any = self.cursor_factory
        kwargs["cursor_factory"] = with_copy(
            kwargs.get("cursor_factory") or own or extensions.cursor
        )
        return super().cursor(**kwargs)

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
                self._close_for_good()
            raise
        except psycopg2.Error:
            raise
        except BaseException:
            # In the middle of an answer, as in `wait`.
            cancel(self)
            self._close_for_good()
            raise

    def _run(self, sql: str) -> None:
        # Not by `cursor`, which is for tasks.
        run: Any = extensions.connection.cursor
        with run(self, cursor_factory=extensions.cursor) as cursor:
            cursor.execute(sql)

    def _reset(self) -> bool:
        self._close_cursors()
        if not self._is_idle():
            return False
        self._forget_session()
        self.autocommit = True
        self._run("DISCARD ALL")
        self.autocommit = False
        return self._forget()

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
        self._close_for_good()

    def _is_active(self) -> bool:
        if self._is_closed_for_good():
            return False
        return self.get_transaction_status() == extensions.TRANSACTION_STATUS_ACTIVE


class GreenPsycopg2Driver(Psycopg2Driver):
    """What the pool of greenlets needs to know of psycopg2."""

    connection_class = GreenPsycopg2Connection

    def connect(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return a new connection, and what *connect* made of it."""
        seconds = connect_timeout(params)
        expired = psycopg2.OperationalError(f"connection timeout expired after {seconds:g} seconds")
        with gevent.Timeout(seconds, expired):
            made, outer = super().connect(params)
        if made is None:
            outer.close()
            message = (
                "what wraps psycopg2.connect here replaces `connection_factory`, so that "
                "database_connections cannot be enforced; leave that argument as it is"
            )
            raise psycopg2.NotSupportedError(message)
        return made, outer

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
