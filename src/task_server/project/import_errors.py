"""
The import of a project that fails -> one line: what, where and what to do.

    with bounded("cl", 60), explained("cl", os.environ):
        app = find_app("cl")
        app.loader.import_default_modules()

Imports no package but this one; see `task_server.project.import_watch`.
"""

import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
    place = _of_syntax(error) or place_of(name, _raised(error))
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


def place_of(name: str, frames: list[Place]) -> Place | None:
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
