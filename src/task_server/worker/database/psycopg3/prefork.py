"""psycopg 3 in prefork children."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg  # type: ignore[import-not-found,unused-ignore]
from psycopg import pq  # type: ignore[import-not-found,unused-ignore]

from task_server.worker.database.psycopg3.driver import Psycopg3Driver


class PreforkPsycopg3Driver(Psycopg3Driver):
    """What `PersistentConnections` needs to know of psycopg 3; a connection is a `PGconn`."""

    def plain(self, params: Mapping[str, Any]) -> Any:
        """Return a connection that is none of the pool's."""
        return self._connect()(**params)

    def pgconn(self, dbapi: Any) -> Any:
        """Return the libpq connection."""
        return dbapi

    def prepare_reset(self, dbapi: Any) -> bool:
        """Return whether the session is not in use."""
        return bool(dbapi.transaction_status == pq.TransactionStatus.IDLE)

    def finish_reset(self, dbapi: Any) -> bool:
        """Nothing is left of what the task had: it gets a new object."""
        return bool(dbapi.transaction_status == pq.TransactionStatus.IDLE)

    def parameter(self, dbapi: Any, name: str) -> str | None:
        """Return what the server last reported of its parameter *name*."""
        value = dbapi.parameter_status(name.encode())
        return None if value is None else str(value.decode())

    def close(self, dbapi: Any) -> None:
        """Close the connection."""
        # Without what it has sent: the server would log a lost connection.
        with suppress(psycopg.Error):
            dbapi.consume_input()
        dbapi.finish()
