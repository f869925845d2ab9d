"""The databases that a project's Django settings name, and whether they answer."""

from collections.abc import Iterator
from typing import Any

from task_server.local.discovery.protocol import (
    LIBPQ_VARIABLES,
    PLACEHOLDER_DATABASE,
    Database,
    Question,
    Unusable,
)
from task_server.peers.deadline import run_with_timeout
from task_server.peers.postgres import explain_postgres_error

#: Seconds that a server has to answer, and for all attempts together.
ANSWER_SECONDS = 5
TOTAL_SECONDS = 15.0

POSTGRES = frozenset({"postgresql", "postgis"})
SQLITE = frozenset({"sqlite3", "spatialite"})


class Databases:
    """
    DATABASES of the Django project that is imported.

    Args:
        ours: The variables of ours that the project did not set itself.

        read: Those of them that its code has read.
    """

    def __init__(self, question: Question, ours: frozenset[str], read: tuple[str, ...]) -> None:
        self._question = question
        self._ours = ours
        self._read = read

    def all(self) -> Iterator[Database]:
        """Yield each alias that has a database, `default` first: others may mirror it."""
        from django.db import connections  # noqa: PLC0415 - there may be no Django

        seen: dict[tuple[str, ...], str] = {}
        for alias in sorted(connections, key=lambda alias: alias != "default"):
            settings = connections[alias].settings_dict
            engine = str(settings.get("ENGINE") or "")
            if engine.endswith(".dummy"):
                continue
            name, host, port = (str(settings.get(key) or "") for key in ("NAME", "HOST", "PORT"))
            variables = tuple(self._variables(engine, name, host))
            if variables and name == PLACEHOLDER_DATABASE:
                name = self._question.database
            same_as = str((settings.get("TEST") or {}).get("MIRROR") or "")
            same_as = same_as or seen.setdefault((engine, name, host, port), alias)
            if same_as == alias:
                same_as = ""
            yield Database(
                alias, engine, name, _where(engine, name, host, port), variables, same_as
            )

    def _variables(self, engine: str, name: str, host: str) -> Iterator[str]:
        """Yield the variables of ours that a database was read from."""
        if _kind(engine) not in POSTGRES or not self._ours & {"DATABASE_URL", "PGHOST"}:
            return
        if host == self._question.postgres_sockets:
            if "PGHOST" in self._read:
                yield from LIBPQ_VARIABLES
            if "DATABASE_URL" in self._read or "PGHOST" not in self._read:
                yield "DATABASE_URL"
        elif not host and name == PLACEHOLDER_DATABASE:
            # Without a host, libpq reads the server from its own variables.
            yield from LIBPQ_VARIABLES


def try_database(database: Database) -> Iterator[Unusable]:
    """Connect to *database* unless it will be ours or is a file; yield why it cannot be used."""
    if database.variables or database.same_as or _kind(database.engine) in SQLITE:
        return
    try:
        run_with_timeout(TOTAL_SECONDS, lambda: _connect(database))
    except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a line
        setting = f"DATABASES[{database.alias!r}]"
        if _kind(database.engine) in POSTGRES:
            server = database.where.rpartition(" at ")[2]
            found = explain_postgres_error(setting, f"{server}/{database.name}", error)
            yield Unusable(found.setting, found.text, found.peer)
        else:
            yield Unusable.because(setting, str(database), error)


def _connect(database: Database) -> None:
    from django.db import connections  # noqa: PLC0415 - there may be no Django

    # A connection of this thread alone, closed before it ends.
    connection: Any = connections[database.alias].copy()
    if _kind(database.engine) in POSTGRES:
        options = dict(connection.settings_dict["OPTIONS"])
        options.pop("pool", None)
        connection.settings_dict["OPTIONS"] = {"connect_timeout": ANSWER_SECONDS, **options}
    try:
        connection.ensure_connection()
    finally:
        connection.close()


def _kind(engine: str) -> str:
    return engine.rpartition(".")[2]


def _where(engine: str, name: str, host: str, port: str) -> str:
    if _kind(engine) in SQLITE:
        return name
    where = f"{name or 'the default'} at {host or 'the local socket'}"
    return f"{where}:{port}" if port else where
