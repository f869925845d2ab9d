"""
The connections to PostgreSQL that a prefork child keeps from task to task.

Django connects and closes as ever. A close gives the connection to this pool, which
sends a reset and does not wait for the answer: the session is as good as new, and
holds no lock, as soon as the server has read it. The next connect with the same
parameters reads that answer, and gets the connection if it came. So a task pays for
no connect, and its end for no round trip.

What cannot be used again is closed, and a task connects as without a pool: a connection
with an open transaction or a query in progress, one that is too old, one whose server
has ended it, does not answer, or is no more the same (a primary that was demoted).

A process that a task forks inherits these connections, and must not use them: it
connects for itself.
"""

import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from task_server.worker.database.answers import PGconn, is_answered, is_silent, send
from task_server.worker.database.connection import Key, PooledConnection, pool_key
from task_server.worker.database.reset import Resets, is_time_zone

logger = logging.getLogger(__name__)

#: Idle seconds after which a connection must answer a query before it is used.
PRE_PING_AFTER = 5.0
#: Seconds the server may take to answer before the connection counts as broken.
ANSWER_TIMEOUT = 5.0
#: The same for one that is about to be closed anyway.
CLOSE_TIMEOUT = 1.0

PING = b"SELECT 1"


class Driver(Protocol):
    """What the pool needs to know of psycopg2 or psycopg 3."""

    def key_part(self) -> Any:
        """Return what two connections must share beside their parameters."""

    def plain(self, params: Mapping[str, Any]) -> Any:
        """Return a connection that is none of the pool's."""

    def connect(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return a new dbapi connection (None: it cannot be used again), and Django's."""

    def wrap(self, dbapi: Any, params: Mapping[str, Any], pooled: PooledConnection) -> Any:
        """Return the object a task gets, first `connect_result`; its `close` checks it in."""

    def fileno(self, dbapi: Any) -> int:
        """Return the socket of *dbapi*."""

    def pgconn(self, dbapi: Any) -> PGconn:
        """Return the libpq connection of *dbapi*."""

    def prepare_reset(self, dbapi: Any) -> bool:
        """Leave the session as a task may; False if it is in use, by a transaction, say."""

    def finish_reset(self, dbapi: Any) -> bool:
        """Make the client's side as new; False if it is not."""

    def parameter(self, dbapi: Any, name: str) -> str | None:
        """Return what the server last reported of its parameter *name*."""

    def close(self, dbapi: Any) -> None:
        """Close the connection."""


class PersistentConnections:
    """
    The connections of this process.

    Args:
        limit: How many may be open before one that is idle makes room: one an alias.

        max_age: Seconds after which a connection is not used again.

        max_idle: Seconds after which one that no task has is closed.
    """

    def __init__(self, driver: Driver, limit: int, max_age: float, max_idle: float) -> None:
        self._driver = driver
        self._limit = limit
        self._max_age = max_age
        self._max_idle = max_idle
        self._resets = Resets()
        #: The process whose tasks may use them; None before the fork.
        self._owner: int | None = None
        # Threads of a task use both, each step is one operation of Python's.
        self._idle: list[PooledConnection] = []
        self._in_use: set[int] = set()

    def start(self) -> None:
        """Keep connections from now on, in this process alone."""
        self._owner = os.getpid()

    def connect(self, params: Mapping[str, Any]) -> Any:
        """Return a connection that is new or as good as new."""
        if os.getpid() != self._owner:
            return self._driver.plain(params)
        key = pool_key(params, self._driver.key_part())
        pooled = self._checkout(key)
        if pooled is None:
            self._make_room()
            dbapi, outer = self._driver.connect(params)
            if dbapi is None:
                return outer
            now = time.monotonic()
            pooled = PooledConnection(self, key, None, dbapi, -1, now, connect_result=outer)
            pooled.server_state = self._server_state(dbapi)
            pooled.server_zone = self._driver.parameter(dbapi, "TimeZone")
        dbapi, pooled.dbapi, pooled.pgconn = pooled.dbapi, None, None
        connection = self._driver.wrap(dbapi, params, pooled)
        self._in_use.add(id(pooled))
        return connection

    def note_time_zone(self, connection: Any, **_: Any) -> None:
        """Record the time zone of Django's *connection*; a receiver of `connection_created`."""
        # A proxy of an instrumentation may hide ours, or lack it.
        pooled = getattr(connection.connection, "_pooled", None)
        if not isinstance(pooled, PooledConnection) or pooled.pool is not self:
            return
        zone = getattr(connection, "timezone_name", None)
        if zone != pooled.time_zone:
            reported = connection.connection.info.parameter_status("TimeZone")
            pooled.time_zone = zone if is_time_zone(zone) and zone == reported else None

    def checkin(self, pooled: PooledConnection, dbapi: Any) -> None:
        """Take back the connection that a task closed. Does not wait."""
        self._in_use.discard(id(pooled))
        pooled.checked_out = None
        if os.getpid() != self._owner:
            return  # inherited: the session is our parent's
        pooled.dbapi = dbapi
        pooled.idle_since = time.monotonic()
        try:
            is_kept = (
                # Never used, or what `connect` returned cannot be made again.
                pooled.connect_result is None
                and pooled.key is not None
                and pooled.idle_since - pooled.created_at < self._max_age
                and self._driver.prepare_reset(dbapi)
            )
            if is_kept:
                pooled.pgconn = self._driver.pgconn(dbapi)
                send(pooled.pgconn, self._resets.command(pooled))
        except Exception:  # noqa: BLE001 it is closed, which is always right
            is_kept = False
        if is_kept:
            self._idle.append(pooled)
        else:
            self._close(pooled)

    def reclaim(self, pooled: PooledConnection) -> None:
        """Forget a connection that was collected unclosed, which its driver has closed."""
        self._in_use.discard(id(pooled))

    def close_unused(self, seconds: float = 0.0) -> None:
        """Close what no task has had for *seconds*."""
        if os.getpid() != self._owner:
            return
        now = time.monotonic()
        for pooled in list(self._idle):
            if now - pooled.idle_since >= seconds and self._take(pooled):
                self._close_answered(pooled)

    def close_unused_in(self) -> float | None:
        """Close what has been unused for too long; return when to call again, if ever (s)."""
        if not self._idle:
            return None
        self.close_unused(self._max_idle)
        since = [pooled.idle_since for pooled in list(self._idle)]
        return max(0.0, min(since) + self._max_idle - time.monotonic()) if since else None

    @property
    def idle(self) -> int:
        """How many connections are open and unused."""
        return len(self._idle)

    def _checkout(self, key: Key | None) -> PooledConnection | None:
        for pooled in reversed(list(self._idle)):
            if pooled.key != key or not self._take(pooled):
                continue
            try:
                if self._is_as_new(pooled):
                    return pooled
            except Exception:
                logger.debug("a connection to PostgreSQL cannot be used again", exc_info=True)
            self._close(pooled)
        return None

    def _is_as_new(self, pooled: PooledConnection) -> bool:
        now = time.monotonic()
        if now - pooled.created_at >= self._max_age or now - pooled.idle_since >= self._max_idle:
            return False
        dbapi, pgconn = pooled.dbapi, pooled.pgconn
        is_good = is_answered(pgconn, ANSWER_TIMEOUT)
        self._resets.answered(pooled, is_good=is_good)
        if not is_good or not is_silent(pgconn.socket):
            return False
        if now - pooled.idle_since >= PRE_PING_AFTER:
            send(pgconn, PING)
            if not is_answered(pgconn, ANSWER_TIMEOUT):
                return False
        return self._driver.finish_reset(dbapi) and self._server_state(dbapi) == pooled.server_state

    def _server_state(self, dbapi: Any) -> tuple[str | None, ...]:
        """Return whether the server is a primary that can be written to, as it reports it."""
        # Reported from PostgreSQL 14 on.
        return tuple(
            self._driver.parameter(dbapi, name)
            for name in ("in_hot_standby", "default_transaction_read_only")
        )

    def _make_room(self) -> None:
        """Close idle connections so that one more is within the limit."""
        for pooled in list(self._idle):
            if len(self._idle) + len(self._in_use) < self._limit:
                return
            if self._take(pooled):
                self._close_answered(pooled)

    def _take(self, pooled: PooledConnection) -> bool:
        """Take *pooled* out; False if another thread has."""
        try:
            self._idle.remove(pooled)
        except ValueError:
            return False
        return True

    def _close_answered(self, pooled: PooledConnection) -> None:
        """Close an idle connection; a server that answers a closed one logs a lost client."""
        with suppress(Exception):
            is_answered(pooled.pgconn, CLOSE_TIMEOUT)
        self._close(pooled)

    def _close(self, pooled: PooledConnection) -> None:
        dbapi, pooled.dbapi = pooled.dbapi, None
        try:
            self._driver.close(dbapi)
        except Exception:
            logger.debug("could not close a connection to PostgreSQL", exc_info=True)
