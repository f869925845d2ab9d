"""Cursors of psycopg2 that can COPY under a wait callback."""

from typing import Any

import psycopg2
from psycopg2 import extensions

from task_server.worker.database.psycopg2.copy import copy_sql


class CopyCursor:
    """COPY for a cursor; a base class before the cursor's own."""

    _copied: tuple[Any, int] | None = None

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        """Run the COPY *sql*, with the data of *file* or into it."""
        cursor: Any = self
        if cursor.closed:
            raise psycopg2.InterfaceError("cursor already closed")
        rows = cursor.connection._copy(sql, file, size)  # noqa: SLF001 the class in `green`
        self._copied = cursor.query, rows

    def copy_from(  # noqa: PLR0917 psycopg2's shape
        self,
        file: Any,
        table: str,
        sep: str = "\t",
        null: str = "\\N",
        size: int = 8192,
        columns: Any = None,
    ) -> None:
        """Add the rows of *file* to *table*."""
        connection = self.connection  # type: ignore[attr-defined]
        self.copy_expert(copy_sql(connection, table, sep, null, columns, into=True), file, size)

    def copy_to(
        self, file: Any, table: str, sep: str = "\t", null: str = "\\N", columns: Any = None
    ) -> None:
        """Write the rows of *table* to *file*."""
        connection = self.connection  # type: ignore[attr-defined]
        self.copy_expert(copy_sql(connection, table, sep, null, columns, into=False), file)

    @property
    def rowcount(self) -> int:
        """The rows of the last command; psycopg2 itself never sees the COPY."""
        parent: Any = super()
        # Each command that psycopg2 sends leaves another `query`.
        if self._copied is not None and self._copied[0] is parent.query:
            return self._copied[1]
        return int(parent.rowcount)


_plain = type("CopyCursor", (CopyCursor, extensions.cursor), {})


def with_copy(kind: Any) -> Any:
    """Return the class of cursors *kind* with COPY; a factory that is no class as it is."""
    if kind is extensions.cursor:
        return _plain
    if not isinstance(kind, type) or issubclass(kind, CopyCursor):
        return kind
    # An instrumentation may make a class for each connection: no list of them grows here.
    found = kind.__dict__.get("_with_copy")
    if found is None:
        found = type(kind.__name__, (CopyCursor, kind), {})
        kind._with_copy = found  # type: ignore[attr-defined]  # noqa: SLF001
    return found
