"""An `up` that runs, as other commands see it: what it publishes, and what it answers."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from task_server.errors import TaskServerError
from task_server.local.control.peer import is_ours
from task_server.local.control.protocol import MAX_ANSWER, BadRequestError, Request, decode
from task_server.local.servers.state import State

#: How long an `up` has to accept a request; its main thread is not asked for that. Seconds.
_ACCEPT_SECONDS = 20.0

#: How long it has to answer what needs no waiting. Seconds.
_ANSWER_SECONDS = 60.0


class NotRunningError(TaskServerError):
    """Raised when no `up` runs in a state folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"No task-server is running in {self.path}; start it with `task-server up`."


class NoAnswerError(TaskServerError):
    """Raised when the `up` that runs cannot be asked."""


@dataclass(frozen=True, slots=True)
class RunningUp:
    """
    The `up` that has locked the folder *state*.

    Attributes:
        info: What it publishes: pid, app, and more once it is ready.
    """

    state: State
    info: Mapping[str, Any]

    @classmethod
    def find(cls, path: Path) -> Self | None:
        """Return the one that runs in the folder *path*, which need not exist; or None."""
        state = State.existing(path)
        info = state.lock_holder() if state is not None else None
        return cls(state, info) if state is not None and info is not None else None

    @classmethod
    def get(cls, path: Path) -> Self:
        """
        Return the one that runs in the folder *path*.

        Raises:
            NotRunningError: There is none.
        """
        found = cls.find(path)
        if found is None:
            raise NotRunningError(path)
        return found

    @property
    def described(self) -> str:
        """It, in words: `task-server (pid 12, project cl)`."""
        pid, app = self.info.get("pid", "?"), self.info.get("app", "?")
        return f"task-server (pid {pid}, project {app})"

    def require_app(self, app: str) -> None:
        """
        Check that it runs the project *app*.

        Raises:
            TaskServerError: It runs another one.
        """
        if self.info.get("app") not in (app, None):
            raise TaskServerError(
                f"{self.described} is already running in {self.state.path}; end it with "
                "`task-server down`, or choose another --state."
            )

    def ask(self, do: str, *names: str) -> dict[str, Any]:
        """
        Return the one answer to a request that needs no waiting.

        Raises:
            TaskServerError: What it answered, or that it does not answer.
        """
        with self.stream(do, *names, seconds=_ANSWER_SECONDS) as stream:
            try:
                for answer in stream:
                    if answer["event"] == "end":
                        return answer
            except OSError as error:
                raise self._no_answer(error) from error
        raise self.has_ended()

    def stream(self, do: str, *names: str, seconds: float | None = None) -> "Stream":
        """
        Return the answers to a request, as they come.

        Args:
            seconds: How long it has for each.

        Raises:
            NoAnswerError: It cannot be asked.
        """
        try:
            stream = Stream(str(self.info["control"]), self.described, seconds)
        except KeyError:
            raise NoAnswerError(
                f"The {self.described} that uses {self.state.path} takes no commands: a demo, or "
                "an older version. End it where it was started."
            ) from None
        except OSError as error:
            raise self._no_answer(error) from error
        try:
            stream.begin(Request(do, names))
        except OSError as error:
            stream.close()
            raise self._no_answer(error) from error
        except TaskServerError:
            stream.close()
            raise
        return stream

    def has_ended(self) -> NoAnswerError:
        """Return the error that it ended before its last answer."""
        return NoAnswerError(f"The {self.described} has ended meanwhile.")

    def _no_answer(self, error: OSError) -> NoAnswerError:
        return NoAnswerError(
            f"The {self.described} that runs in {self.state.path} does not answer "
            f"({error.strerror or error}); `kill {self.info.get('pid', 'PID')}` ends it."
        )


class Stream:
    """The answers to one request: a context, and an iterator."""

    def __init__(self, path: str, described: str, seconds: float | None) -> None:
        self._described = described
        self._seconds = seconds
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with ExitStack() as stack:
            stack.callback(self._socket.close)
            self._socket.settimeout(_ACCEPT_SECONDS)
            self._socket.connect(path)
            if not is_ours(self._socket):
                raise PermissionError("the socket is another user's")
            stack.pop_all()
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._socket.fileno()

    def waiting(self) -> bool:
        """Return whether an answer was received and not yet taken."""
        return b"\n" in self._buffer

    def close(self) -> None:
        """Ask for no more answers."""
        self._socket.close()

    def begin(self, request: Request) -> None:
        """Send *request*, and wait until it is accepted."""
        self._socket.sendall(request.encode())
        if self._next() is None:
            raise ConnectionResetError("it has just ended")
        self._socket.settimeout(self._seconds)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (answer := self._next()) is not None:
            yield answer
            if answer["event"] == "end":
                return

    def _next(self) -> dict[str, Any] | None:
        """Return the next answer; None where the `up` has ended."""
        while b"\n" not in self._buffer:
            try:
                chunk = self._socket.recv(65536)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                return None
            self._buffer += chunk
            if len(self._buffer) > MAX_ANSWER:
                raise NoAnswerError(f"The {self._described} answers more than is possible.")
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            answer = decode(line)
        except BadRequestError as error:
            raise NoAnswerError(f"The {self._described} answers what {error}.") from error
        if answer.get("event") == "error":
            raise TaskServerError(str(answer.get("message", "")))
        return answer
