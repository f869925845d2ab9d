"""
An `up`, from the discovery of the project to its end, in a state folder that it has locked.

Commands reach it through a socket, and what it writes is in a file as well.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from task_server.config.model import Config
from task_server.config.services import SERVICES
from task_server.errors import TaskServerError
from task_server.health.published import NAMESPACE, pid_namespace
from task_server.launch.folders import MEDIA_VARIABLE
from task_server.launch.services import LAUNCHERS
from task_server.local.control.protocol import SOCKET
from task_server.local.control.server import ControlServer
from task_server.local.discovery.discover import Discovery
from task_server.local.discovery.plan import databases_to_migrate, plan_servers
from task_server.local.discovery.protocol import Answer
from task_server.local.log_file import LogFile, log_path
from task_server.local.reload import watch
from task_server.local.reload.reload import Reload
from task_server.local.requests import Requests
from task_server.local.servers.state import Lock, State
from task_server.local.supervisor.supervisor import Supervisor
from task_server.local.system import System, database_of
from task_server.local.variables import other_processes
from task_server.project.import_errors import TRACEBACK_VARIABLE

#: The last line of the banner.
_COMMANDS = (
    "From another terminal: task-server ps, logs -f, restart NAME, down, manage COMMAND, shell, env"
)


@dataclass(frozen=True, kw_only=True)
class Up:
    """
    What `up` was asked for.

    Attributes:
        workers: Names of the workers to start.

        migrate: As `databases_to_migrate` takes it.

        reload: Whether a change of the code restarts what runs it.

        environ: The environment of the command.

        on_ready: Is called once everything is ready, and nothing more is written to the
            terminal; None goes on there.
    """

    config: Config
    state: State
    workers: Sequence[str]
    migrate: bool | None = None
    reload: bool = True
    show_traceback: bool = False
    environ: Mapping[str, str] = field(repr=False)
    on_ready: Callable[[], None] | None = None

    def run(self, lock: Lock) -> int:
        """
        Start everything, and go on until a signal or `down`; return the exit code.

        Raises:
            TaskServerError: What cannot be started, or has ended by itself.
        """
        socket = self.state.socket_folder() / SOCKET
        code = 1
        with ExitStack() as stack:
            supervisor = Supervisor(environ=self.environ)
            requests = Requests(supervisor)
            stack.enter_context(ControlServer(socket, requests.handle))
            stack.callback(lambda: requests.end(code))
            log = LogFile(self._log_path(), _no_log)
            stack.callback(log.close)
            supervisor.log.copy = log.write
            try:
                with supervisor:
                    self._publish(lock, socket)
                    number = _Running(self, supervisor, requests, lock).run()
            except TaskServerError as error:
                supervisor.log.say_copy(f"Error: {error}")
                code = error.exit_code
                raise
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 1
                raise
            except KeyboardInterrupt:
                code = 128 + signal.SIGINT
                raise
            code = 0 if number in (signal.SIGINT, signal.SIGTERM, 0) else 128 + number
        return code

    def _publish(self, lock: Lock, socket: Path) -> None:
        """Tell other commands where to ask, and health checks where the heartbeats are."""
        runtime_dir = str(self.state.folder("run"))
        lock.update(control=str(socket), runtime_dir=runtime_dir, **{NAMESPACE: pid_namespace()})

    def _log_path(self) -> Path:
        self.state.folder("log")
        return log_path(self.state.path)


class _Running:
    """One run of *up*."""

    def __init__(self, up: Up, supervisor: Supervisor, requests: Requests, lock: Lock) -> None:
        self._up = up
        self._supervisor = supervisor
        self._requests = requests
        self._lock = lock
        self._say = supervisor.log.say

    def run(self) -> int:
        """Return the number of the signal that ended it."""
        up, supervisor = self._up, self._supervisor
        database = database_of(up.config)
        print(f"project: reading which servers {up.config.app} uses", file=sys.stderr, flush=True)
        environ = {**up.environ, TRACEBACK_VARIABLE: "1"} if up.show_traceback else up.environ
        answer = Discovery(up.config, up.state, environ, database=database).run(supervisor)
        plan = plan_servers(answer)
        system = System.find(up.config, up.state, up.environ, plan)
        for line in (*plan.lines, *system.lines()):
            self._say(line)
        ours = system.redis
        if ours is not None and not ours.is_given and all(one.variable for one in answer.brokers):
            # For health checks, which ask it as Flower's.
            self._lock.update(broker=ours.url)
        supervisor.start_all(system.servers())
        system.create_databases(plan.databases)
        self._migrate(system, answer)
        names = [*plan.variables, *(name for name in (MEDIA_VARIABLE,) if name in answer.read)]
        variables = other_processes(names, system.environ, up.environ)
        self._requests.variables = [one.to_dict() for one in variables]
        if variables:
            self._say("\nThe project's other processes, such as its web server, need:")
            for variable in variables:
                self._say(f"  {variable.export()}")
        reload, watched = self._watch(system, answer)
        first = f"Up: {'; '.join(self._start(system, answer))}"
        banner = [first, watched, _COMMANDS]
        how = "`task-server down`" if up.on_ready else "Ctrl-C"
        self._say("\n".join(["", f"{first} ({how} stops everything)", *banner[1:], ""]))
        self._requests.is_up(banner)
        if up.on_ready is not None:
            supervisor.log.end_terminal()
            up.on_ready()
        if reload is not None:
            reload.begin()
        return supervisor.run()

    def _migrate(self, system: System, answer: Answer) -> None:
        """Run the migrations, and print the databases by name."""
        chosen = databases_to_migrate(answer, wanted=self._up.migrate)
        for database in answer.databases:
            if database not in chosen:
                reason = f"the same as {database.same_as}" if database.same_as else "use --migrate"
                self._say(f"not migrated: {database} ({database.alias}; {reason})")
        for database in chosen:
            self._say(f"migrations: {database} ({database.alias})")
            arguments = ["migrate", "--no-input", f"--database={database.alias}"]
            job = system.manage("migrate", arguments)
            self._supervisor.start(job)
            if self._supervisor.wait(job) != 0:
                raise TaskServerError("The migrations failed; see above, or use --no-migrate.")

    def _start(self, system: System, answer: Answer) -> list[str]:
        """Start the services that the project has a use for; return what there is to say."""
        children, missing, titles = [], [], {}
        for service in SERVICES.values():
            if service.only_with is not None and service.only_with not in answer.features:
                continue
            if not LAUNCHERS[service.name].is_installed():
                missing.append(f"no {service.title} (install task-server[{service.extra}])")
                continue
            for name in self._up.workers if service.per_worker else (service.name,):
                children.append(system.process(service, name)[0])
                titles[name] = service.title
        self._supervisor.start_all(children)
        # A port may be another one by now.
        addresses = {one.name: one.address for one in self._supervisor.children()}
        urls = {name: addresses[name] for name in titles if addresses[name] is not None}
        self._lock.update(**urls)
        for name, url in urls.items():
            self._say_port(name, url or "")
        names = ", ".join(name for name in titles if name not in urls)
        # Last, without a mark behind it: people click on it.
        listening = " and ".join(f"{titles[name]} is at {url}" for name, url in urls.items())
        return [one for one in (names, *missing, listening) if one]

    def _say_port(self, name: str, url: str) -> None:
        """Say that *name* has another port than the usual one, unless the user named it."""
        usual = SERVICES[name].port
        if f"{name}.port" not in self._up.config.origins and urlsplit(url).port != usual:
            title = SERVICES[name].title
            self._say(f"{title}: port {usual} is in use; it takes {urlsplit(url).port}")

    def _watch(self, system: System, answer: Answer) -> tuple[Reload | None, str]:
        """Watch the project's code; return what restarts, and a line about it."""
        if not self._up.reload:
            return None, "Reload: off"
        if not watch.is_installed():
            return (
                None,
                "Reload: off, without watchfiles (install task-server[embedded])",
            )
        if not answer.code:
            return None, "Reload: off, for the project is an installed package"
        media = [answer.media, system.environ.get(MEDIA_VARIABLE, "")]
        excluded = [self._up.state.path, *(Path(one) for one in media if one)]
        reload = Reload(self._supervisor)
        watcher = watch.Watcher(answer.code, excluded, reload.changed, reload.failed)
        watcher.start()
        return reload, f"Reload: at changes of {watcher.names}"


def _no_log(error: OSError) -> None:
    print(
        f"The output is not in the log: {error.filename or ''} {error.strerror or error}; "
        "`logs` and an `up` that attaches miss it.",
        file=sys.stderr,
    )


def stop_terminal() -> None:
    """Leave the terminal that started this process: it may close, or go on with other things."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)
