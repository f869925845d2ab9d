"""Running the discovery of a project's servers, in a process of its own."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from task_server.config.model import Config
from task_server.errors import ConfigError, PeerError, TaskServerError
from task_server.launch.command import project_environ
from task_server.launch.folders import MEDIA_VARIABLE
from task_server.local.discovery.protocol import (
    PLACEHOLDER_DATABASE,
    POSTGRES_VARIABLES,
    REDIS_DATABASES,
    REDIS_VARIABLES,
    Answer,
    Failure,
    Question,
    Unusable,
)
from task_server.local.servers import postgres, redis
from task_server.local.servers.state import State
from task_server.local.supervisor.child import Child
from task_server.local.supervisor.supervisor import Supervisor
from task_server.project.import_errors import TRACEBACK_VARIABLE, ImportFailedError, ImportPeerError

#: Any of these names a PostgreSQL, so that ours is not meant.
POSTGRES_GIVEN = ("DATABASE_URL", "PGHOST", "PGSERVICE")


class Discovery:
    """
    Finds the servers of the project of *config*; *environ* is what it will run in.

    Args:
        database: Name of the database that it gets on our PostgreSQL.
    """

    def __init__(
        self, config: Config, state: State, environ: Mapping[str, str], *, database: str
    ) -> None:
        self._config = config
        self._state = state
        self._database = database
        self._environ = {**environ, **project_environ(config, environ)}
        self._environ["TASK_SERVER_STATE"] = str(state.path)

    def run(self, supervisor: Supervisor) -> Answer:
        """
        Return what the project's settings name.

        If the import needs a server that it reads from our variables, that server is
        started, and the import repeated; if our variables break the import, it is
        repeated without them.

        Raises:
            ConfigError: When the project cannot be imported, or a server refuses it.
            PeerError: When a server in its settings does not answer.
        """
        ours = self._variables()
        found = self._import(supervisor, ours)
        if isinstance(found, Failure) and found.code == PeerError.exit_code:
            started = self._start(supervisor, found.read)
            found = self._import(supervisor, ours) if started else found
        if isinstance(found, Failure):
            without = self._import(supervisor, {}) if found.code != PeerError.exit_code else found
            if isinstance(without, Failure):
                raise self._error(found)
            found = without
        elif found.dotenv:
            found = self._with_dotenv(supervisor, ours, found)
        _require_usable(found.unusable)
        return found

    def _with_dotenv(
        self, supervisor: Supervisor, ours: Mapping[str, str], answer: Answer
    ) -> Answer:
        """Return the answer that leaves the variables of the project's file .env to it."""
        without = self._import(supervisor, {})
        preset = set(without.preset) & set(ours)
        if not preset:
            return answer
        rest = {name: value for name, value in ours.items() if name not in preset}
        again = self._import(supervisor, rest)
        return answer if isinstance(again, Failure) else again

    def _variables(self) -> dict[str, str]:
        """Return our variables, without those that the user has set."""
        path = redis.socket_path(self._state)
        variables = {"REDIS_CLIENT_URL": f"unix://{path}?db=0"}
        for name, number in REDIS_DATABASES.items():
            variables[name] = f"redis+socket://{path}?virtual_host={number}"
        if "REDIS_URL" in self._environ:
            # The user's own Redis: Celery gets it by its own variables.
            url = self._environ["REDIS_URL"]
            variables = dict.fromkeys(("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"), url)
        variables[MEDIA_VARIABLE] = str(self._state.folder("media"))
        if not any(name in self._environ for name in POSTGRES_GIVEN):
            data = postgres.variables(self._state, self._database)
            variables |= {**data, "PGDATABASE": PLACEHOLDER_DATABASE}
        return {name: one for name, one in variables.items() if name not in self._environ}

    def _import(self, supervisor: Supervisor, ours: Mapping[str, str]) -> Answer | Failure:
        """Import the project with the variables *ours*, in a process of its own."""
        question = Question(
            app=self._config.app,
            seconds=self._config.import_seconds,
            ours=tuple(ours),
            redis_socket=redis.socket_path(self._state),
            redis_url=self._environ.get("REDIS_URL", ""),
            postgres_sockets=str(self._state.socket_folder()),
            database=self._database,
        )
        output: list[str] = []
        program = "task_server.local.discovery.project"
        job = Child(
            name="project",
            argv=[sys.executable, "-m", program, question.to_json()],
            environ={**self._environ, **ours},
            oneshot=True,
            on_stdout=output.append,
            quiet=not self._environ.get(TRACEBACK_VARIABLE),
        )
        supervisor.start(job)
        returncode = supervisor.wait(job)
        if not output:
            lines = "\n  ".join(supervisor.last_lines(job))
            raise TaskServerError(
                f"The servers of {self._config.app} could not be determined: its import ended "
                f"the process (exit {returncode}):\n  {lines}"
            )
        fields: dict[str, Any] = json.loads(output[-1])
        return Failure.from_dict(fields) if "error" in fields else Answer.from_dict(fields)

    def _start(self, supervisor: Supervisor, read: tuple[str, ...]) -> bool:
        """Start those of our servers whose variables were *read*; return whether there are any."""
        found = []
        if not {*read}.isdisjoint(REDIS_VARIABLES):
            found.append(redis.find(self._state, self._environ))
        if not {*read}.isdisjoint(POSTGRES_VARIABLES):
            found.append(postgres.find(self._state, self._environ, database=self._database))
        children = [server.child for server in found if server.child is not None]
        supervisor.start_all(children)
        return bool(children)

    def _error(self, failure: Failure) -> TaskServerError:
        if failure.code == PeerError.exit_code:
            return ImportPeerError(failure.error)
        return ImportFailedError(self._config.app, failure.error)


def _require_usable(unusable: tuple[Unusable, ...]) -> None:
    """
    Report all *unusable* servers together.

    Raises:
        PeerError: When none of them answered.
        ConfigError: When one of them answered, and refuses.
    """
    if not unusable:
        return
    count = len(unusable)
    noun = "server" if count == 1 else "servers"
    lines = "".join(f"  {one}\n" for one in unusable)
    text = (
        f"{count} {noun} of the project's settings cannot be used:\n{lines}"
        "`up` starts a server only where the settings read its address from os.environ: "
        "REDIS_URL, CELERY_BROKER_URL, CELERY_RESULT_BACKEND, DATABASE_URL."
    )
    if all(one.peer for one in unusable):
        raise PeerError(text)
    raise _RefusedError(text)


class _RefusedError(ConfigError):
    """Raised when a server in the project's settings refuses it; exit 78."""

    def __init__(self, text: str) -> None:
        super().__init__([], "the project's settings")
        self.text = text

    def __str__(self) -> str:
        return self.text
