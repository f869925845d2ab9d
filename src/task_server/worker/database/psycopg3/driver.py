"""
psycopg 3 behind a pool: how its connections are made and given to a task.

Between two tasks the pool keeps the libpq connection (`PGconn`) alone. Each task
gets a new `psycopg.Connection` around it, and the old one is left without any: a
cursor that outlived its task cannot reach the next task.
"""

from collections.abc import Callable, Mapping
from typing import Any

import psycopg  # type: ignore[import-not-found,unused-ignore]
from psycopg.adapt import AdaptersMap  # type: ignore[import-not-found,unused-ignore]

from task_server.worker.database.connection import PooledConnection
from task_server.worker.database.psycopg3.connection import Psycopg3Connection


class Psycopg3Driver:
    """
    What the pool needs to know of psycopg 3; a dbapi connection is a `PGconn` here.

    Args:
        connect: Returns what Django would call to connect. Called each time,
            for an instrumentation may wrap it at any moment.
    """

    name = "psycopg"
    error: type[Exception] = psycopg.OperationalError
    #: The class of its connections.
    connection_class: Any = Psycopg3Connection

    def __init__(self, connect: Callable[[], Callable[..., Any]]) -> None:
        self._connect = connect
        #: Classes of connections that an instrumentation has put in the place of psycopg's own.
        self._classes: dict[Any, Any] = {psycopg.Connection: self.connection_class}

    def key_part(self) -> Any:
        """Return what connections must share beside their parameters: what made them."""
        return self._connect()

    def connect(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
        """
        Return the libpq connection of a new connection, and the connection without it.

        The first is None, and the second whole, if that is nothing that psycopg's can be
        found in.
        """
        outer = inner = self._connect()(**params)
        while not issubclass(type(inner), psycopg.Connection):
            inner = getattr(inner, "__wrapped__", None)
            if inner is None:
                return None, outer
        inner.__class__ = self._class_for(type(inner))
        return inner._detach(), outer  # noqa: SLF001 a class of this package

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
        connection._attach(dbapi)  # noqa: SLF001 a class of this package
        cursor_factories = connection.cursor_factory, connection.server_cursor_factory
        pooled.template = type(connection), *cursor_factories
        connection._check_out(pooled)  # noqa: SLF001 a class of this package
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

    def _class_for(self, base: Any) -> Any:
        """Return the class of a connection that is a *base* and of the pool."""
        if base not in self._classes:
            own = self.connection_class
            self._classes[base] = type(own.__name__, (own, base), {})
        return self._classes[base]
