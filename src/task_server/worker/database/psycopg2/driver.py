"""psycopg2 behind a pool: how its connections are made and given to a task."""

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import psycopg2

from task_server.worker.database.connection import PooledConnection
from task_server.worker.database.psycopg2.connection import Psycopg2Connection


class Psycopg2Driver:
    """
    What a pool needs to know of psycopg2.

    A connection that is used again goes through *connect* as well, which does
    not connect then: what has wrapped it sees each use, as without a pool.

    Args:
        connect: Returns what Django would call to connect. Called each time,
            for an instrumentation may wrap it at any moment.
    """

    name = "psycopg2"
    error: type[Exception] = psycopg2.OperationalError
    #: The class of its connections.
    connection_class: Any = Psycopg2Connection

    def __init__(self, connect: Callable[[], Callable[..., Any]]) -> None:
        self._connect = connect

    def key_part(self) -> Any:
        """Return what connections must share beside their parameters: nothing."""
        return None

    def connect(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
        """
        Return a new connection, and what *connect* made of it.

        The first is None if what wraps `psycopg2.connect` replaces `connection_factory`.
        """
        base = params.get("connection_factory")
        factory: Any = self.connection_class
        if base is not None:
            factory = type(factory.__name__, (factory, base), {})
        made: list[Any] = []

        def make(*args: Any, **kwargs: Any) -> Any:
            made.append(factory(*args, **kwargs))
            return made[0]

        outer = self._connect()(**{**params, "connection_factory": make})
        return (made[0] if made else None), outer

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
        dbapi._check_out(pooled)  # noqa: SLF001 a class of this package
        return outer


def _is_own(connect: Any) -> bool:
    """Whether *connect* is psycopg2's own, which nothing has wrapped."""
    return type(connect) is FunctionType and connect.__code__.co_filename == psycopg2.__file__
