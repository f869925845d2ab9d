"""psycopg2 in prefork children."""

from collections.abc import Mapping
from typing import Any

from task_server.worker.database.psycopg2.driver import Psycopg2Driver
from task_server.worker.database.psycopg2.libpq import PGconn


class PreforkPsycopg2Driver(Psycopg2Driver):
    """What `PersistentConnections` needs to know of psycopg2."""

    def plain(self, params: Mapping[str, Any]) -> Any:
        """Return a connection that is none of the pool's."""
        return self._connect()(**params)

    def pgconn(self, dbapi: Any) -> PGconn:
        """Return the libpq connection of *dbapi*."""
        return PGconn(dbapi)

    def prepare_reset(self, dbapi: Any) -> bool:
        """Close cursors; False if the session is in use."""
        if dbapi._cursors:  # noqa: SLF001 a class of this package
            if not dbapi._has_no_named_cursor():  # noqa: SLF001
                return False
            dbapi._close_cursors()  # noqa: SLF001
        return bool(dbapi._is_idle())  # noqa: SLF001

    def finish_reset(self, dbapi: Any) -> bool:
        """Make the object as new; False if it is not."""
        dbapi._forget_session()  # noqa: SLF001 a class of this package
        return bool(dbapi._forget())  # noqa: SLF001

    def parameter(self, dbapi: Any, name: str) -> str | None:
        """Return what the server last reported of its parameter *name*."""
        value: str | None = dbapi.get_parameter_status(name)
        return value

    def close(self, dbapi: Any) -> None:
        """Close the connection."""
        dbapi._close_for_good()  # noqa: SLF001 a class of this package
