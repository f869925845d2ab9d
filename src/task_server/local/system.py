"""The whole system on this machine: the servers, and a project's processes as children."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from task_server.config.model import STOP_MARGIN_SECONDS, Config
from task_server.errors import ConfigError, Problem
from task_server.launch.command import Command, project_environ, worker_command
from task_server.launch.machine import this_machine
from task_server.launch.precedence import worker_spec
from task_server.launch.services import Service
from task_server.launch.timing import Timing
from task_server.local.discovery.plan import ServerPlan
from task_server.local.discovery.protocol import POSTGRES_VARIABLES
from task_server.local.servers import cluster, postgres, redis
from task_server.local.servers.ports import check_free, free_port
from task_server.local.servers.server import Server
from task_server.local.servers.state import State
from task_server.local.supervisor.child import NOTIFY, Child, Notify
from task_server.local.supervisor.supervisor import Supervisor

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
            replace(server.child, quiet=quiet)
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

    def worker(self, name: str, *, quiet: bool = False) -> Child:
        """Return the worker *name*."""
        spec = worker_spec(
            self.config,
            name,
            this_machine(),
            runtime_dir=str(self.state.folder("run")),
            timing=Timing.from_environ(self.environ),
        )
        command = worker_command(self.config, spec, python=sys.executable, environ=self.environ)
        return self._child(
            name,
            command,
            ready=NOTIFY,
            stop_seconds=spec.drain_seconds + STOP_MARGIN_SECONDS,
            quiet=quiet,
        )

    def service(self, service: Service, *, quiet: bool = False) -> tuple[Child, str]:
        """
        Return the child of *service*, and its URL.

        Raises:
            LocalServerError: When its port is in use.
        """
        table = getattr(self.config, service.name)
        port = table.port or free_port(table.address)
        check_free(port, service.title, table.address)
        changed: dict[str, Any] = {service.name: replace(table, port=port)}
        config = replace(self.config, **changed)
        command = service.command(config, python=sys.executable, environ=self.environ)
        child = self._child(
            service.name,
            command,
            ready=service.ready,
            stop_seconds=service.stop_seconds,
            quiet=quiet,
        )
        return child, service.url(config)

    def _child(
        self,
        name: str,
        command: Command,
        *,
        ready: str | Notify,
        stop_seconds: float,
        quiet: bool,
    ) -> Child:
        return Child(
            name=name,
            argv=command.argv,
            environ={**self.environ, **command.environ},
            ready=ready,
            stop_seconds=stop_seconds,
            quiet=quiet,
        )


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
            stack.enter_context(state.lock({"app": config.app}))
        # The command that runs inside handles Ctrl-C.
        supervisor = stack.enter_context(Supervisor(sys.stderr, environ, signals=False))
        system = System.find(config, state, environ)
        supervisor.start_all(system.servers(quiet=True))
        yield system.environ
