"""The whole system on this machine: the servers, and a project's processes as children."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from task_server.config.model import Config
from task_server.config.services import Service
from task_server.errors import ConfigError, Problem
from task_server.launch.command import project_environ
from task_server.launch.services import LAUNCHERS
from task_server.local.discovery.plan import ServerPlan
from task_server.local.discovery.protocol import POSTGRES_VARIABLES
from task_server.local.servers import cluster, postgres, redis
from task_server.local.servers.ports import check_free, free_port, next_free_port
from task_server.local.servers.server import Server
from task_server.local.servers.state import State
from task_server.local.supervisor.child import NOTIFY, Child
from task_server.local.supervisor.supervisor import Supervisor

#: What a server writes that another program was faster than (EADDRINUSE).
_PORT_TAKEN = "Address already in use"

#: A project that reads all its servers from our variables, as the reference project does.
EVERYTHING = ServerPlan(
    redis=True,
    postgres=True,
    variables=("REDIS_URL", "REDIS_CLIENT_URL", *POSTGRES_VARIABLES),
)


@dataclass(frozen=True, slots=True)
class System:
    """
    The servers of one state folder, and the children that a project needs.

    Attributes:
        environ: The environment of every process of the project.
    """

    config: Config
    state: State
    redis: Server | None
    postgres: Server | None
    environ: Mapping[str, str]

    @classmethod
    def find(
        cls,
        config: Config,
        state: State,
        environ: Mapping[str, str],
        plan: ServerPlan = EVERYTHING,
    ) -> "System":
        """
        Find the servers that the project of *config* needs.

        Raises:
            ConfigError: When there is no such project.
            LocalServerError: When a server can be neither found nor started.
        """
        database = database_of(config)
        broker = redis.find(state, environ) if plan.redis else None
        data = postgres.find(state, environ, database=database) if plan.postgres else None
        ours: dict[str, str] = {}
        if broker is not None:
            ours = dict.fromkeys(("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"), broker.url)
            ours |= broker.environ
        if data is not None:
            ours |= data.environ
        taken = {name: ours[name] for name in plan.variables if name in ours}
        shared = {**environ, **taken}
        shared.setdefault("DJANGO_MEDIA_ROOT", str(state.folder("media")))
        shared["TASK_SERVER_STATE"] = str(state.path)
        shared.update(project_environ(config, environ))
        return cls(config, state, broker, data, shared)

    def lines(self) -> list[str]:
        """Return a line for each server, with where it comes from."""
        found = (self.redis, self.postgres)
        return [f"{server.name}: {server.where}" for server in found if server is not None]

    def servers(self, *, quiet: bool = False) -> list[Child]:
        """Return the servers to start, without those that run already."""
        return [
            replace(server.child, quiet=quiet, address=server.client_url)
            for server in (self.redis, self.postgres)
            if server is not None and server.child is not None
        ]

    def create_databases(self, names: Sequence[str]) -> None:
        """
        Create the databases *names* that our running PostgreSQL does not have.

        Raises:
            LocalServerError: The server refuses us.
        """
        if self.postgres is not None and "PGHOST" in self.postgres.environ:
            for name in names:
                cluster.ensure_database(self.postgres.environ, name)

    def manage(
        self,
        name: str,
        arguments: Sequence[str],
        on_stdout: Callable[[str], None] | None = None,
        *,
        quiet: bool = False,
    ) -> Child:
        """Return the oneshot *name*, a management command of the project."""
        return Child(
            name=name,
            argv=[sys.executable, "-m", "task_server.manage", *arguments],
            environ=self.environ,
            oneshot=True,
            on_stdout=on_stdout,
            quiet=quiet,
        )

    def process(
        self, service: Service, name: str, *, quiet: bool = False
    ) -> tuple[Child, str | None]:
        """
        Return the process *name* of *service* as a child, and its URL if it listens.

        Without a port in the configuration it has the next free one; where another
        program takes that first, it is started again on the one after.

        Raises:
            LocalServerError: When the port that the configuration names is in use.
        """
        if service.port is None:
            child = self._child(service, name, self.config, quiet=quiet)
            return child, child.address
        table = getattr(self.config, service.name)
        if f"{service.name}.port" not in self.config.origins:
            child = self._on_port(service, name, table.port, quiet=quiet)
            return child, child.address
        port = table.port or free_port(table.address)
        check_free(port, service.title, table.address)
        child = self._child(service, name, self._with_port(service, port), quiet=quiet)
        return child, child.address

    def _on_port(self, service: Service, name: str, port: int, *, quiet: bool) -> Child:
        """Return the process *name* on the first free port from *port* on."""
        table = getattr(self.config, service.name)
        free = next_free_port(port, table.address)
        child = self._child(service, name, self._with_port(service, free), quiet=quiet)

        def instead(lines: Sequence[str]) -> Child | None:
            if not any(_PORT_TAKEN in line for line in lines):
                return None
            return self._on_port(service, name, free + 1, quiet=quiet)

        return replace(child, instead=instead)

    def _child(self, service: Service, name: str, config: Config, *, quiet: bool) -> Child:
        process = LAUNCHERS[service.name].process(
            config,
            name,
            runtime_dir=str(self.state.folder("run")),
            python=sys.executable,
            environ=self.environ,
        )
        return Child(
            name=name,
            argv=process.command.argv,
            environ={**self.environ, **process.command.environ},
            ready=service.ready or NOTIFY,
            stop_seconds=process.stop_seconds,
            address=process.url,
            reloads=service.reloads,
            quiet=quiet,
        )

    def _with_port(self, service: Service, port: int) -> Config:
        """Return the configuration with *port* for *service*."""
        table = getattr(self.config, service.name)
        changed: dict[str, Any] = {service.name: replace(table, port=port)}
        return replace(self.config, **changed)


def database_of(config: Config) -> str:
    """
    Return the name that the database of the project of *config* has on our server.

    Raises:
        ConfigError: When there is no such project.
    """
    package = config.app.partition(":")[0].partition(".")[0]
    # Celery searches the working folder, too. Checked before any server is started.
    places = [*([config.code] if config.code else []), str(Path.cwd()), *sys.path]
    if PathFinder.find_spec(package, places) is None:
        message = f"there is no module {package!r}; set `code` to the folder it lies in"
        raise ConfigError([Problem("app", message)])
    return package


@contextmanager
def running(config: Config, path: Path, environ: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """
    Yield the environment of the servers of the state folder *path*.

    Those that do not run are started, and stopped at the end; so a short command and
    `up` use the same data.

    Raises:
        LocalServerError: When a server cannot be started.
    """
    state = State.open(path)
    with ExitStack() as stack:
        if state.lock_holder() is None:
            stack.enter_context(state.lock({"app": config.app, "command": "other"}))
        # The command that runs inside handles Ctrl-C.
        supervisor = stack.enter_context(Supervisor(sys.stderr, environ, signals=False))
        system = System.find(config, state, environ)
        supervisor.start_all(system.servers(quiet=True))
        yield system.environ
