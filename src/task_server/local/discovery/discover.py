"""Asking a project what it names of its servers, in a process of its own."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from task_server.config.model import Config
from task_server.errors import ConfigError, PeerError, TaskServerError
from task_server.launch.command import project_environ
from task_server.launch.folders import MEDIA_VARIABLE
from task_server.local.discovery.plan import (
    POSTGRES_GIVEN,
    POSTGRES_VARIABLES,
    REDIS_VARIABLES,
    Answer,
    Trouble,
)
from task_server.local.servers import postgres, redis
from task_server.local.servers.state import State
from task_server.local.supervisor.child import Child
from task_server.local.supervisor.supervisor import Supervisor
from task_server.project.import_errors import TRACEBACK_VARIABLE, ImportFailedError, ImportPeerError

#: The databases of Redis that tell three variables apart while we ask.
NUMBERS: Mapping[str, int] = {"REDIS_URL": 0, "CELERY_BROKER_URL": 1, "CELERY_RESULT_BACKEND": 2}

#: PGDATABASE while we ask, so that a database that happens to be called like the project is not
#: taken for one that is taken from it.
ASKED_DATABASE = "task_server_asks"


@dataclass(frozen=True, slots=True)
class _Failure:
    """
    Why the import failed, with the exit code.

    *read* are the variables of ours that it had read, *given* those that were set
    without us.
    """

    error: str
    code: int
    read: tuple[str, ...]
    given: tuple[str, ...]

    def raised(self, name: str) -> TaskServerError:
        if self.code == PeerError.exit_code:
            return ImportPeerError(self.error)
        return ImportFailedError(name, self.error)


class Asking:
    """
    Asks the project of *config*; *environ* is the environment it will run in.

    Args:
        database: Name of the database that ours would have.
    """

    def __init__(
        self, config: Config, state: State, environ: Mapping[str, str], *, database: str
    ) -> None:
        self._config = config
        self._state = state
        self._database = database
        self._environ = {**environ, **project_environ(config, environ)}
        self._environ["TASK_SERVER_STATE"] = str(state.path)

    def ask(self, supervisor: Supervisor) -> Answer:
        """
        Return what the project names.

        An import that needs a server is helped to ours, if it has asked for that;
        one that our addresses break is asked again without them.

        Raises:
            ConfigError: When the project cannot be imported, or a server refuses it.
            PeerError: When a server that it names does not answer.
        """
        ours = self._ours()
        answer = self._run(supervisor, ours)
        if isinstance(answer, _Failure) and answer.code == PeerError.exit_code:
            started = self._start(supervisor, answer.read)
            answer = self._run(supervisor, ours) if started else answer
        if isinstance(answer, _Failure):
            without = self._run(supervisor, {}) if answer.code != PeerError.exit_code else answer
            if isinstance(without, _Failure):
                raise answer.raised(self._config.app)
            answer = without
        elif answer.dotenv:
            answer = self._with_file(supervisor, ours, answer)
        _refuse(answer.troubles)
        return answer

    def _with_file(self, supervisor: Supervisor, ours: Mapping[str, str], answer: Answer) -> Answer:
        """Return *answer* as it is where the variables of the project's file .env are not ours."""
        without = self._run(supervisor, {})
        given = set(without.given) & set(ours)
        if not given:
            return answer
        rest = {name: value for name, value in ours.items() if name not in given}
        again = self._run(supervisor, rest)
        return answer if isinstance(again, _Failure) else again

    def _ours(self) -> dict[str, str]:
        """Return the variables of ours that nobody has set."""
        path = redis.address(self._state)
        variables = {"REDIS_CLIENT_URL": f"unix://{path}?db=0"}
        for name, number in NUMBERS.items():
            variables[name] = f"redis+socket://{path}?virtual_host={number}"
        if "REDIS_URL" in self._environ:
            # Another Redis is meant, and Celery's own variables stand for it.
            given = self._environ["REDIS_URL"]
            variables = dict.fromkeys(("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"), given)
        variables[MEDIA_VARIABLE] = str(self._state.folder("media"))
        if not any(name in self._environ for name in POSTGRES_GIVEN):
            data = postgres.variables(self._state, self._database)
            variables |= {**data, "PGDATABASE": ASKED_DATABASE}
        return {name: one for name, one in variables.items() if name not in self._environ}

    def _run(self, supervisor: Supervisor, ours: Mapping[str, str]) -> Answer | _Failure:
        question = {
            "app": self._config.app,
            "seconds": self._config.import_seconds,
            "ours": list(ours),
            "known": [*REDIS_VARIABLES, *POSTGRES_VARIABLES],
            "redis": redis.address(self._state),
            "given": self._environ.get("REDIS_URL", ""),
            "numbers": NUMBERS,
            "sockets": str(self._state.socket_folder()),
            "asked": ASKED_DATABASE,
            "database": self._database,
        }
        said: list[str] = []
        job = Child(
            name="project",
            argv=[
                sys.executable,
                "-m",
                "task_server.local.discovery.project",
                json.dumps(question),
            ],
            environ={**self._environ, **ours},
            job=True,
            on_stdout=said.append,
            quiet=not self._environ.get(TRACEBACK_VARIABLE),
        )
        supervisor.start(job)
        returncode = supervisor.wait(job)
        if not said:
            lines = "\n  ".join(supervisor.last_lines(job))
            raise TaskServerError(
                f"{self._config.app} could not be asked for its servers "
                f"(exit {returncode}):\n  {lines}"
            )
        plain: dict[str, Any] = json.loads(said[-1])
        if "error" in plain:
            return _Failure(
                plain["error"], plain["code"], tuple(plain["read"]), tuple(plain["given"])
            )
        return Answer.of(plain)

    def _start(self, supervisor: Supervisor, read: tuple[str, ...]) -> bool:
        """Start those of our servers whose variables were *read*; tell whether any was started."""
        children = []
        if not {*read}.isdisjoint(REDIS_VARIABLES):
            children.append(redis.find(self._state, self._environ).child)
        if not {*read}.isdisjoint(POSTGRES_VARIABLES):
            found = postgres.find(self._state, self._environ, database=self._database)
            children.append(found.child)
        wanted = [child for child in children if child is not None]
        supervisor.start_all(wanted)
        return bool(wanted)


def _refuse(troubles: tuple[Trouble, ...]) -> None:
    """
    Raise for *troubles*, all at once.

    Raises:
        PeerError: When all of them did not answer.
        ConfigError: When one of them answered, and refuses.
    """
    if not troubles:
        return
    count = len(troubles)
    noun = "server" if count == 1 else "servers"
    lines = "".join(f"  {trouble}\n" for trouble in troubles)
    text = (
        f"{count} {noun} of the project's settings cannot be used:\n{lines}"
        "`up` starts a server of its own for what the settings take from os.environ: REDIS_URL, "
        "CELERY_BROKER_URL, CELERY_RESULT_BACKEND, DATABASE_URL."
    )
    if all(trouble.peer for trouble in troubles):
        raise PeerError(text)
    raise _RefusedError(text)


class _RefusedError(ConfigError):
    """Raised when a server that the project names refuses it; exit 78."""

    def __init__(self, text: str) -> None:
        super().__init__([], "the project's settings")
        self.text = text

    def __str__(self) -> str:
        return self.text
