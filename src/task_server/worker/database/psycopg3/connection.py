"""A connection of psycopg 3 that goes back to its pool when its task closes it."""

from typing import Any

import psycopg  # type: ignore[import-not-found,unused-ignore]
from psycopg import pq  # type: ignore[import-not-found,unused-ignore]

from task_server.worker.database.connection import PooledConnection


def _closed_pgconn() -> Any:
    """Return a libpq connection that is closed, without a socket ever opened."""
    connection = pq.PGconn.connect_start(b"host=/nonexistent")
    connection.finish()
    return connection


class Psycopg3Connection(psycopg.Connection[Any]):  # type: ignore[misc,unused-ignore]
    """A connection whose `close` checks it in."""

    _pooled: PooledConnection | None = None
    pgconn: Any

    def _check_out(self, pooled: PooledConnection) -> None:
        self._pooled = pooled
        pooled.check_out(self)

    def _attach(self, pgconn: Any) -> None:
        self.pgconn = pgconn
        self._closed = False

    def _detach(self) -> Any:
        pgconn, self.pgconn = self.pgconn, _closed_pgconn()
        self._closed = True
        return pgconn

    def close(self) -> None:
        """Return the connection to the pool; this object is closed from now on."""
        pooled, self._pooled = self._pooled, None
        if pooled is None:
            super().close()
            return
        pooled.check_in(self._detach())
