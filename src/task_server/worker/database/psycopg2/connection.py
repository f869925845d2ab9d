"""A connection of psycopg2 that goes back to its pool when its task closes it."""

from typing import Any
from weakref import WeakSet

import psycopg2
from psycopg2 import extensions

from task_server.worker.database.connection import PooledConnection


class Psycopg2Connection(extensions.connection):
    """A connection whose `close` checks it in."""

    _pooled: PooledConnection | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: WeakSet[extensions.cursor] = WeakSet()
        self._first_encoding = self.encoding

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
        cursor = super().cursor(*args, **kwargs)
        self._cursors.add(cursor)
        return cursor

    def _close_cursors(self) -> None:
        # A generator that was never finished may still have a cursor, and
        # would close it in the middle of another task.
        for cursor in list(self._cursors):
            cursor.close()
        self._cursors.clear()

    def _has_no_named_cursor(self) -> bool:
        """Whether no cursor is open whose close would ask the server."""
        return all(cursor.name is None or cursor.closed for cursor in list(self._cursors))

    def _close_for_good(self) -> None:
        super().close()

    def _is_closed_for_good(self) -> bool:
        return bool(super().closed)

    def _is_idle(self) -> bool:
        """Whether no transaction is open, one of two phases included."""
        return (
            not self._is_closed_for_good()
            and self.status == extensions.STATUS_READY
            and self.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE
        )

    def _forget_session(self) -> None:
        """Set back what psycopg2 itself knows of the session's transactions."""
        # In autocommit mode it would ask the server for each of them, whatever they are; now
        # only for those that are not at their defaults.
        self.autocommit = False
        self.set_session(isolation_level="default", readonly="default", deferrable="default")

    def _forget(self) -> bool:
        """Forget what the task has set on this object; return whether it is as new."""
        # What Django, a signal or an instrumentation may have put on it.
        self.string_types.clear()
        self.binary_types.clear()
        del self.notices[:]
        del self.notifies[:]
        self.cursor_factory = None  # type: ignore[assignment]
        for name in set(self.__dict__) - {"_cursors", "_first_encoding"}:
            del self.__dict__[name]
        # psycopg2 sets DateStyle once, at the connect, when the server's is
        # not ISO; the reset has undone that. The encoding it only learns when
        # its own method sets it.
        return (self.get_parameter_status("DateStyle") or "").startswith(
            "ISO"
        ) and self.encoding == self._first_encoding
