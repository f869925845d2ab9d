"""A connection of the pool, and what the pool needs to know of the driver that opened it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import finalize, ref

Key = tuple[tuple[str, Any], ...]


class Pool(Protocol):
    """Where a connection goes when its task closes it."""

    def checkin(self, pooled: "PooledConnection", dbapi: Any) -> None:
        """Take back the connection that a task closed. Does not wait."""

    def reclaim(self, pooled: "PooledConnection") -> None:
        """Release the slot of a connection that was collected unclosed; safe in a finalizer."""


@dataclass(slots=True, eq=False)
class PooledConnection:
    """One slot of the limiter and the one connection that fills it."""

    pool: Pool
    key: Key | None
    holder: int | None
    #: The driver's connection while no task has it: psycopg2's object, psycopg 3's PGconn.
    dbapi: Any
    #: A duplicate of its socket, to see the server close it. Ours to close.
    descriptor: int
    created_at: float
    idle_since: float = 0.0
    #: The object that a task has; None once it is back.
    checked_out: "ref[Any] | None" = None
    #: Django's wrapper around it, from its signal `connection_created`.
    wrapper: "ref[Any] | None" = None
    #: Whether the server is being asked for its state: see `idle_threads`.
    is_inspected: bool = False
    #: What the driver's `connect`, or what wraps it, returned; until the first checkout.
    connect_result: Any = None
    #: What the driver needs to create the task's object again.
    template: Any = None
    #: Whether the server was a primary, and could be written to, as it reported it.
    server_state: tuple[str | None, ...] = ()
    #: Its libpq connection while no task has it, which a prefork child uses beside the driver.
    pgconn: Any = None
    #: The time zone of the session when it was opened, and the one that Django gives it.
    server_zone: str | None = None
    time_zone: str | None = None
    #: Whether its last reset set that time zone as well; see `reset`.
    is_reset_joined: bool = False
    finalizer: Any = None

    def check_out(self, connection: Any) -> None:
        """Give *connection* to a task; it is reclaimed if it is collected unclosed."""
        self.checked_out = ref(connection)
        self.finalizer = finalize(connection, self.pool.reclaim, self)
        self.finalizer.atexit = False

    def check_in(self, dbapi: Any) -> None:
        """Return *dbapi*, whose task closed it, to the pool."""
        self.finalizer.detach()
        self.pool.checkin(self, dbapi)


class Driver(Protocol):
    """What the pool needs to know of psycopg2 or psycopg 3."""

    name: str
    error: type[Exception]

    def key_part(self) -> Any:
        """Return what two connections must share beside their parameters."""

    def connect(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return a new dbapi connection and what Django's `connect` returned; cooperative."""

    def fileno(self, dbapi: Any) -> int:
        """Return the socket of *dbapi*."""

    def wrap(self, dbapi: Any, params: Mapping[str, Any], pooled: PooledConnection) -> Any:
        """Return the object a task gets, first `connect_result`; its `close` checks it in."""

    def reset(self, dbapi: Any) -> bool:
        """Reset *dbapi*; False if it cannot be used again."""

    def ping(self, dbapi: Any) -> None:
        """Ask the server for an answer; raise when there is none."""

    def close(self, dbapi: Any) -> None:
        """Cancel what runs, and close the client's side."""


def pool_key(params: Mapping[str, Any], key_part: Any = None) -> Key | None:
    """Return what two connections must share to be interchangeable; None: never reuse."""
    # Not the password: it opens a session and is none of its properties. Some expire soon.
    shared = (item for item in params.items() if item[0] != "password")
    key = (*sorted(shared), ("", key_part))
    try:
        hash(key)
    except TypeError:
        return None
    return key
