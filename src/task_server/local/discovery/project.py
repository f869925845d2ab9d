"""
What a project names of its servers: `python -m task_server.local.discovery.project QUESTION`.

`task-server up` runs it with our variables (REDIS_URL, DATABASE_URL …) set to
servers that need not run yet, and imports the project as a worker does. Where
one of them turns up in what the project names, or where its code reads it, the
project takes it from us; anything else it names itself, and that is tried.

One JSON object on standard output; what the project prints goes to standard
error.
"""

import json
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from task_server.errors import TaskServerError
from task_server.local.discovery.plan import Answer, Database, Peer, Trouble
from task_server.peers.deadline import run_with_timeout
from task_server.peers.postgres import explain_postgres_error
from task_server.peers.redis import explain_redis_error
from task_server.project import celery_app as project
from task_server.project.import_errors import bounded, explained
from task_server.settings import masked

#: Seconds that a server has to answer.
ANSWER_SECONDS = 5.0

#: What Celery lets win over the project's settings.
BROKER, RESULTS = "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"

POSTGRES = frozenset({"postgresql", "postgis"})
SQLITE = frozenset({"sqlite3", "spatialite", "dummy"})


class Reads(type(os.environ)):  # type: ignore[misc]
    """os.environ that notes which variables are asked for, each for itself."""

    seen: ClassVar[set[str]] = set()
    #: What we have set, and the project has not.
    ours: ClassVar[set[str]] = set()
    #: What is left to be read by who goes through all of them, which is to ask for none.
    copied: ClassVar[deque[str]] = deque()

    def __getitem__(self, key: str) -> str:
        if Reads.copied and Reads.copied[0] == key:
            Reads.copied.popleft()
        else:
            Reads.copied.clear()
            Reads.seen.add(key)
        value: str = super().__getitem__(key)
        return value

    def setdefault(self, key: str, value: str) -> str:
        """Let the project's own value (of its .env) stand before ours."""
        if key in Reads.ours:
            Reads.ours.discard(key)
            Reads.seen.discard(key)
            self[key] = value
        kept: str = super().setdefault(key, value)
        return kept

    def __iter__(self) -> Iterator[str]:
        Reads.copied = deque(super().__iter__())
        return iter(tuple(Reads.copied))


def main(question: Mapping[str, Any], answer: int) -> None:
    """Write what is asked to the file *answer*, and end the process."""
    name = question["app"]

    def tell(plain: Mapping[str, Any]) -> None:
        os.write(answer, f"{json.dumps(plain)}\n".encode())
        # The project may have started threads.
        os._exit(0)

    def failed(error: TaskServerError) -> None:
        read = sorted(Reads.seen & Reads.ours)
        tell({"error": str(error), "code": error.exit_code, "read": read, "given": given()})

    def given() -> list[str]:
        return [name for name in question["known"] if name in os.environ]

    Reads.ours.update(question["ours"])
    os.environ.__class__ = Reads
    try:
        with bounded(name, question["seconds"], failed), explained(name, os.environ):
            app = project.find(name)
            app.loader.import_default_modules()
            found = Project(app, question)
        tell(found.answer().plain())
    except TaskServerError as error:
        failed(error)


class Project:
    """
    The project of *app*, imported, with the variables of ours that *question* lists.

    Those are taken out of the environment again, so that what it names itself is
    reached as without them.
    """

    def __init__(self, app: Any, question: Mapping[str, Any]) -> None:
        self.app = app
        self.question = question
        self.ours = frozenset(Reads.ours)
        self.read = tuple(sorted(Reads.seen & self.ours))
        self.settings = self._django()
        names = ("broker_url", "broker_read_url", "broker_write_url", "broker_host")
        self.own = project.own(app, (*names, "result_backend"))
        for one in self.ours:
            os.environ.pop(one, None)

    def _django(self) -> Any:
        module = sys.modules.get("django.conf")
        settings = None if module is None else module.settings
        return settings if settings is not None and settings.configured else None

    def answer(self) -> Answer:
        """Return what the project names, after trying it."""
        brokers = dict(self._brokers())
        results = self._results()
        databases = tuple(self._databases())
        troubles = [
            *(trouble for url, peer in brokers.items() for trouble in self._try_broker(url, peer)),
            *(self._try_results(*results) if results else ()),
            *(trouble for database in databases for trouble in self._try_database(database)),
        ]
        return Answer(
            django=self.settings is not None,
            brokers=tuple(brokers.values()),
            results=results[1] if results else None,
            databases=databases,
            read=self._taken(),
            dotenv="dotenv" in sys.modules,
            given=tuple(name for name in self.question["known"] if name in os.environ),
            troubles=tuple(troubles),
        )

    def _taken(self) -> tuple[str, ...]:
        """Return the variables that the code reads; Celery reads two of them itself."""
        return tuple(name for name in self.read if name not in (BROKER, RESULTS))

    # Broker and results

    def _brokers(self) -> Iterator[tuple[str, Peer]]:
        given = os.environ.get(BROKER)
        if given:
            yield given, Peer(_shown(given), BROKER)
            return
        if "broker_host" in self.own and "broker_url" not in self.own:
            with self.app.connection_for_write() as connection:
                yield connection.as_uri(include_password=True), self._peer("broker_host", "")
            return
        for name in ("broker_write_url", "broker_read_url", "broker_url"):
            url = self.own.get(name)
            # The third counts where one of the two others is not set.
            if not url or (name == "broker_url" and len(self._two()) == 2):  # noqa: PLR2004
                continue
            text = ";".join(url) if isinstance(url, list | tuple) else str(url)
            yield text, self._peer(name, text)
        if not self.own.keys() & {"broker_url", *self._two()} and os.environ.get("REDIS_URL"):
            url = os.environ["REDIS_URL"]
            yield url, Peer(_shown(url), "REDIS_URL", BROKER)

    def _two(self) -> set[str]:
        return {name for name in ("broker_read_url", "broker_write_url") if self.own.get(name)}

    def _results(self) -> tuple[str, Peer] | None:
        given = os.environ.get(RESULTS)
        if given:
            return given, Peer(_shown(given), RESULTS)
        url = self.own.get("result_backend")
        return (str(url), self._peer("result_backend", str(url))) if url else None

    def _peer(self, name: str, url: str) -> Peer:
        written = f"{self.app.namespace}_{name}".upper() if self.app.namespace else name
        return Peer(_shown(url), written, self._variable(name, url))

    def _variable(self, setting: str, url: str) -> str:
        """Return the variable of ours that *url* is taken from; empty if it is none."""
        if not self._is_ours(url):
            # A Redis that was given to us, by a variable that only Celery's own stand for.
            name = RESULTS if setting == "result_backend" else BROKER
            return name if name in self.ours and url == self.question["given"] else ""
        # The three lead to different databases while we ask.
        for name, number in self.question["numbers"].items():
            if f"virtual_host={number}" in url:
                return str(name)
        return "REDIS_URL"

    def _is_ours(self, url: str) -> bool:
        return self.question["redis"] in url

    def _try_broker(self, url: str, peer: Peer) -> Iterator[Trouble]:
        if self._is_ours(url):
            return
        try:
            run_with_timeout(3 * ANSWER_SECONDS, lambda: self._connect(url))
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a line
            yield _trouble(f"broker ({peer.setting})", url, error)

    def _connect(self, url: str) -> None:
        redis = _is_redis(url)
        seconds = ANSWER_SECONDS
        options = {"socket_connect_timeout": seconds, "socket_timeout": seconds} if redis else {}
        with self.app.connection_for_write(
            url=url, transport_options=options, connect_timeout=seconds
        ) as connection:
            if not redis:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=seconds)
                return
            # Not `connection.connect()`, which tries again for seconds.
            transport = connection.transport
            channel = transport.create_channel(transport)
            try:
                channel.client.ping()
            finally:
                channel.close()

    def _try_results(self, url: str, peer: Peer) -> Iterator[Trouble]:
        if self._is_ours(url) or not _is_redis(url):
            return
        for name in ("redis_socket_connect_timeout", "redis_socket_timeout"):
            self.app.conf[name] = ANSWER_SECONDS
        try:
            run_with_timeout(3 * ANSWER_SECONDS, self._ask_results)
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a line
            yield _trouble(f"results ({peer.setting})", url, error)

    def _ask_results(self) -> None:
        # Anew, since the project may have asked for its backend while it was imported.
        self.app._get_backend().client.ping()  # noqa: SLF001

    # Databases

    def _databases(self) -> Iterator[Database]:
        if self.settings is None:
            return
        from django.db import connections  # noqa: PLC0415 - there may be no Django

        seen: dict[tuple[str, ...], str] = {}
        # The aliases of a second server may be what the first is mirrored to.
        for alias in sorted(connections, key=lambda alias: alias != "default"):
            settings = connections[alias].settings_dict
            engine = str(settings.get("ENGINE") or "")
            if engine.endswith(".dummy"):
                continue
            name, host, port = (str(settings.get(key) or "") for key in ("NAME", "HOST", "PORT"))
            variables = tuple(self._from_us(engine, name, host))
            if variables and name == self.question["asked"]:
                name = self.question["database"]
            same = str((settings.get("TEST") or {}).get("MIRROR") or "")
            same = same or seen.setdefault((engine, name, host, port), alias)
            if _kind(engine) in SQLITE:
                where = name
            else:
                where = f"{name or 'the default'} at {host or 'the local socket'}"
                where += f":{port}" if port else ""
            yield Database(
                alias,
                engine,
                name,
                where,
                variables,
                "" if same == alias else same,
            )

    def _from_us(self, engine: str, name: str, host: str) -> Iterator[str]:
        """Return the variables of ours that a database is taken from."""
        if _kind(engine) not in POSTGRES or not self.ours & {"DATABASE_URL", "PGHOST"}:
            return
        if host == self.question["sockets"]:
            if "PGHOST" in self.read:
                yield from ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE")
            if "DATABASE_URL" in self.read or "PGHOST" not in self.read:
                yield "DATABASE_URL"
        elif not host and name == self.question["asked"]:
            # Without a host, libpq takes the server from its own variables.
            yield from ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE")

    def _try_database(self, database: Database) -> Iterator[Trouble]:
        if database.variables or database.same_as or _kind(database.engine) in SQLITE:
            return
        try:
            run_with_timeout(3 * ANSWER_SECONDS, lambda: _open(database))
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a line
            setting = f"DATABASES[{database.alias!r}]"
            if _kind(database.engine) in POSTGRES:
                server = database.where.rpartition(" at ")[2]
                found = explain_postgres_error(setting, f"{server}/{database.name}", error)
                yield Trouble(found.setting, found.text, found.peer)
            else:
                yield Trouble(setting, f"{database} cannot be used: {_first(error)}", peer=True)


def _open(database: Database) -> None:
    from django.db import connections  # noqa: PLC0415 - there may be no Django

    # A connection of this thread alone, closed before it ends.
    ours: Any = connections[database.alias].copy()
    if _kind(database.engine) in POSTGRES:
        options = dict(ours.settings_dict["OPTIONS"])
        options.pop("pool", None)
        ours.settings_dict["OPTIONS"] = {"connect_timeout": int(ANSWER_SECONDS), **options}
    try:
        ours.ensure_connection()
    finally:
        ours.close()


def _shown(url: str) -> str:
    return str(masked(url))


def _kind(engine: str) -> str:
    return engine.rpartition(".")[2]


def _is_redis(url: str) -> bool:
    scheme = url.partition("://")[0]
    return "redis" in scheme or scheme in ("sentinel", "socket", "unix")


def _trouble(setting: str, url: str, error: Exception) -> Trouble:
    if _is_redis(url):
        found = explain_redis_error(setting, url, error)
        return Trouble(found.setting, found.text, found.peer)
    where = _shown(url)
    return Trouble(setting, f"{where} cannot be used: {_first(error)}; start it", peer=True)


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else '-'}"


if __name__ == "__main__":
    stdout = os.dup(1)
    os.dup2(2, 1)
    main(json.loads(sys.argv[1]), stdout)
