"""
The import of a project that fails or hangs -> one line: what, where and what to do.

    with bounded("cl", 60), explained("cl", os.environ):
        app = find_app("cl")
        app.loader.import_default_modules()

Imports no package but this one, so that it can be begun before gevent patches the
standard library, and watch what is imported from then on.
"""

import _thread
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from task_server.errors import ConfigError, PeerError, Problem, TaskServerError
from task_server.settings.mask import masked

#: Set to anything, the traceback is printed before the line.
TRACEBACK_VARIABLE = "TASK_SERVER_TRACEBACK"

#: Classes, by their names, of errors that mean that a server did not answer. Clients
#: have their own (redis-py, psycopg, Kombu), and none of them is imported for this.
_ABSENCE = frozenset({"ConnectionError", "TimeoutError", "gaierror", "OperationalError"})

#: A message of the project's is cut here.
_LONGEST = 300

_STANDARD = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})

#: Packages whose frames explain nothing to the author of a project.
_FRAMEWORKS = frozenset({"task_server", "celery", "kombu", "django", "billiard", "gevent"})


#: What a frame explains: a library's is better than none.
_LIBRARY, _OWN = 1, 2


class ImportFailedError(ConfigError):
    """Raised when the project's own code raises while it is imported; one line, exit 78."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__([Problem("app", message)], f"the project {name}")

    def __str__(self) -> str:
        return self.problems[0].message


class ImportPeerError(PeerError):
    """Raised when the project's import needs a server that does not answer; exit 69."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, and the module it belongs to."""

    file: str
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@contextmanager
def explained(name: str, environ: Mapping[str, str]) -> Iterator[None]:
    """
    Turn what the code of the project *name* raises in here into one line.

    With TASK_SERVER_TRACEBACK in *environ*, the traceback is printed as well.
    Errors of task-server itself pass.

    Raises:
        ImportFailedError: With the file and the line of the project's innermost frame.
        ImportPeerError: When a server that the import asks does not answer.
    """
    try:
        yield
    except (TaskServerError, KeyboardInterrupt):
        raise
    except BaseException as error:  # gevent's Timeout and others are no Exception
        print_traceback(error, environ)
        raise failure(name, error) from error


def print_traceback(error: BaseException, environ: Mapping[str, str]) -> None:
    """Print the traceback of *error* if *environ* asks for it."""
    if environ.get(TRACEBACK_VARIABLE):
        traceback.print_exception(error)


def failure(name: str, error: BaseException) -> TaskServerError:
    """Return the one line for *error*, which the import of the project *name* raised."""
    place = _of_syntax(error) or _place(name, _raised(error))
    where = f" at {place}" if place else f" in {os.environ.get('DJANGO_SETTINGS_MODULE', name)}"
    text = f"{name} cannot be imported: {_text(error)}{where}"
    if _is_absence(error):
        return ImportPeerError(
            _shown(f"{text}; start that server, or connect when a task needs it")
        )
    cure = f"{_cure(error)} ({TRACEBACK_VARIABLE}=1 shows the traceback)"
    return ImportFailedError(name, _shown(f"{text}; {cure}"))


def is_own(name: str, error: BaseException) -> bool:
    """Whether code of the project *name* is among what *error* passed."""
    package = _package(name)
    return any(_rank(place, package) == _OWN for place in _raised(error))


def _text(error: BaseException) -> str:
    kind = type(error).__name__
    try:
        if isinstance(error, SystemExit):
            return f"it ends the process ({_line(f'sys.exit({error.code!r})')})"
        # The text of a SyntaxError repeats the place.
        said = _line(str(error.msg if isinstance(error, SyntaxError) else error))
    except Exception as second:  # noqa: BLE001 - the project's own code makes the message
        return f"{kind}, whose message raises {type(second).__name__}"
    return f"{kind}: {said}" if said else kind


def _line(text: str) -> str:
    """Return the first line of *text*, cut and without passwords."""
    lines = text[: 10 * _LONGEST].strip().splitlines()
    return str(masked(lines[0]))[:_LONGEST] if lines else ""


def _shown(text: str) -> str:
    """Return *text* without what a terminal obeys, or cannot show."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _is_absence(error: BaseException) -> bool:
    return any(kind.__name__ in _ABSENCE for kind in type(error).__mro__)


def _cure(error: BaseException) -> str:
    match error:
        case KeyError() if _is_variable(error):
            cure = f"set the variable {str(error.args[0])[:_LONGEST]}"
        case ModuleNotFoundError():
            module = (error.name or "it").partition(".")[0]
            cure = f"install {module} beside {sys.executable}, or correct the import"
        case ImportError():
            cure = "correct the import"
        case SyntaxError():
            cure = "correct that line"
        case PermissionError() | FileNotFoundError():
            cure = "mount it, or let this user read it"
        case _:
            cure = "give it what it asks for, or correct that line"
    return cure


def _is_variable(error: KeyError) -> bool:
    """Whether *error* is of a variable that os.environ does not have."""
    frames = _raised(error)
    return bool(frames) and frames[-1].module == "os"


def _of_syntax(error: BaseException) -> Place | None:
    if isinstance(error, SyntaxError) and error.filename:
        return Place(error.filename, error.lineno or 1, "")
    return None


def _raised(error: BaseException) -> list[Place]:
    """Return the frames that *error* passed, the innermost last."""
    return [
        Place(frame.f_code.co_filename, line, str(frame.f_globals.get("__name__", "")))
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]


def _waiting(frame: FrameType | None) -> list[Place]:
    """Return the frames of a stack, the innermost last."""
    found = [
        Place(one.f_code.co_filename, line, str(one.f_globals.get("__name__", "")))
        for one, line in traceback.walk_stack(frame)
    ]
    return found[::-1]


def _place(name: str, frames: list[Place]) -> Place | None:
    """Return the innermost of *frames* that is the project's own, or else of a library."""
    package = _package(name)
    best = max((_rank(one, package) for one in frames), default=0)
    if best == 0:
        return None
    return next(one for one in reversed(frames) if _rank(one, package) == best)


def _package(name: str) -> str:
    return name.partition(":")[0].partition(".")[0]


def _rank(place: Place, package: str) -> int:
    """Return how much *place* explains to the author of the project *package*."""
    if place.file.startswith("<"):
        return 0
    top = place.module.partition(".")[0]
    if top == package:
        return _OWN
    if top in _FRAMEWORKS or Path(__file__).parent in Path(place.file).parents:
        return 0
    if {"site-packages", "dist-packages"} & set(Path(place.file).parts):
        return _LIBRARY
    return 0 if place.file.startswith(_STANDARD) else _OWN


# An import that hangs


class Watch:
    """
    Notices that the import of the project *name* has not gone on for *seconds*.

    It goes on as long as new modules appear: a large project may take its time. It
    looks from a thread that gevent does not know; seconds are counted in looks, so
    that a process that was stopped (SIGSTOP, a suspended machine) is not taken for
    one that hangs.

    Args:
        late: Called in that thread with the error; the default prints it and ends
            the process, since a thread that waits in C cannot be interrupted.
    """

    def __init__(
        self, name: str, seconds: float, late: Callable[[ImportPeerError], None] | None = None
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._late = late or end
        self._main = _thread.get_ident()
        self._greenlet: Any = None
        # Made before gevent patches them, these are the system's own.
        self._asked, self._ended = _thread.allocate_lock(), _thread.allocate_lock()
        self._asked.acquire()
        self._ended.acquire()
        self._on = True
        _thread.start_new_thread(self._run, ())

    def patched(self) -> None:
        """Remember the greenlet that imports; call it when gevent has patched the library."""
        greenlet = sys.modules.get("greenlet")
        if greenlet is not None:
            self._greenlet = greenlet.getcurrent()

    @property
    def on(self) -> bool:
        """Whether it still watches."""
        return self._on

    def stop(self) -> None:
        """End the thread, and wait for its end: a process with threads should not fork."""
        if self._on:
            self._on = False
            self._asked.release()
            self._ended.acquire()

    def _run(self) -> None:
        look = min(1.0, self._seconds / 10)
        modules, still = len(sys.modules), 0
        try:
            while not self._asked.acquire(timeout=look):
                if len(sys.modules) != modules:
                    modules, still = len(sys.modules), 0
                    continue
                still += 1
                if still * look >= self._seconds:
                    self._late(self._error())
                    still = 0
        finally:
            self._ended.release()

    def _error(self) -> ImportPeerError:
        frames = _waiting(sys._current_frames().get(self._main))  # noqa: SLF001 - the way to see it
        place = _place(self._name, frames)
        if self._greenlet is not None and self._greenlet.gr_frame is not None:
            # It waits in gevent's hub, whose frames say nothing.
            frames = _waiting(self._greenlet.gr_frame)
            place = _place(self._name, frames) or place
        where = f"at {place}" if place else "before its first line"
        inner = frames[-1] if frames else None
        if inner is not None and inner != place:
            where += f" (in {inner.module or inner.file}, line {inner.line})"
        return ImportPeerError(
            f"{self._name} cannot be imported: for {self._seconds:g} s it has been {where}; start "
            "the server that it asks there, or connect when a task needs it; import_seconds "
            "(TASK_SERVER_IMPORT_SECONDS) bounds this"
        )


def end(error: TaskServerError) -> None:
    """Print *error*, and end the process from whatever thread, at once."""
    os.write(2, f"Error: {error}\n".encode())
    os._exit(error.exit_code)


@contextmanager
def bounded(
    name: str, seconds: float, late: Callable[[ImportPeerError], None] | None = None
) -> Iterator[Watch]:
    """Watch the import of the project *name* that happens in here; see `Watch`."""
    watch = Watch(name, seconds, late)
    try:
        yield watch
    finally:
        watch.stop()
