"""Which settings files there are, in which order, and executing them."""

import os
import re
import stat
import traceback
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from task_server.errors import ConfigError, Problem

#: Files and folders outside the code, separated as PATH is.
PATH_VARIABLE = "TASK_SERVER_SETTINGS_PATH"

FILE_NAME = re.compile(r"\d\d-.*\.py")

#: The Django application that makes `delay()` cheap.
PRODUCER = "task_server.producer"


class WorldReadableWarning(UserWarning):
    """Given when everybody on the machine can read a private settings file."""


def load(namespace: dict[str, Any], environ: Mapping[str, str] = os.environ) -> None:
    """
    Execute the settings files of a project in *namespace*.

    Its INSTALLED_APPS, if it has any, get `task_server.producer`.

    Args:
        namespace: ``globals()`` of the settings module; its ``__file__`` says
            where the files lie. It is filled in place.

        environ: Where TASK_SERVER_SETTINGS_PATH is looked up.

    Raises:
        ConfigError: With the file and the line, if a file cannot be found,
            read, compiled or executed.
    """
    for file in settings_files(Path(namespace["__file__"]).parent, environ):
        _warn_of_world_readable(file)
        execute(file, namespace)
    _add_producer(namespace)


def _add_producer(namespace: dict[str, Any]) -> None:
    """Add the producer to a Django project's applications; TASK_SERVER_PRODUCER=false stops it."""
    applications = namespace.get("INSTALLED_APPS")
    if not isinstance(applications, list | tuple):
        return
    if not any(str(each).startswith(PRODUCER) for each in applications):
        namespace["INSTALLED_APPS"] = type(applications)([*applications, PRODUCER])


def locate(module: str) -> Path:
    """
    Return the folder of the settings module *module*, without executing it.

    The packages above it (``docket`` of ``docket.settings``) are imported.

    Raises:
        ConfigError: If there is no such module.
    """
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        message = f"there is no module {module!r}; put the project's code on PYTHONPATH"
        raise ConfigError([Problem("DJANGO_SETTINGS_MODULE", message)], "the environment")
    return Path(spec.origin).parent


def settings_files(folder: Path, environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """
    Return the settings files in the order of their execution.

    The order is that of the file names alone. Of two files with one name, the
    one in *folder* comes first, so that the outer one overrides it.

    Raises:
        ConfigError: With every entry of TASK_SERVER_SETTINGS_PATH that does
            not exist, cannot be read, or is a file that is not named so.
    """
    found = list(_in_folder(folder))
    problems: list[Problem] = []
    for entry in filter(None, environ.get(PATH_VARIABLE, "").split(os.pathsep)):
        path = Path(entry).absolute()
        try:
            if stat.S_ISDIR(path.stat().st_mode):
                found.extend(_in_folder(path))
            elif FILE_NAME.fullmatch(path.name):
                found.append(path)
            else:
                message = f"{path} is not named like 11-private.py; rename it"
                problems.append(Problem(PATH_VARIABLE, message))
        except FileNotFoundError:
            message = f"{path} does not exist; create it or take it off the list"
            problems.append(Problem(PATH_VARIABLE, message))
        except OSError as error:
            message = f"{path} cannot be read ({error.strerror}); run as a user who may"
            problems.append(Problem(PATH_VARIABLE, message))
    if problems:
        raise ConfigError(problems, "the environment")
    # A file that is listed twice (itself, and by its folder) runs once: a
    # second `INSTALLED_APPS += [...]` would be an error in Django. The sort is
    # stable, so that equal names stay in the order in which they were found.
    unique = {(path.name, path.resolve()): path for path in found}
    return tuple(sorted(unique.values(), key=lambda path: path.name))


def execute(file: Path, namespace: dict[str, Any]) -> None:
    """
    Execute *file* in *namespace*; ``__file__`` is the file meanwhile.

    Raises:
        ConfigError: With the file and the line.
    """
    try:
        code = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    except OSError as error:
        message = f"cannot be read ({error.strerror}); run as a user who may"
        raise ConfigError([Problem(str(file), message)], "the settings files") from None
    except (SyntaxError, ValueError) as error:
        # Not chained, and without the text of the line: in a private file, it
        # is likely to contain a password.
        where = f"{file}:{getattr(error, 'lineno', None) or 1}"
        message = f"{type(error).__name__}: {getattr(error, 'msg', None) or error}"
        raise ConfigError([Problem(where, message)], "the settings files") from None
    outer = namespace.get("__file__")
    namespace["__file__"] = str(file)
    try:
        exec(code, namespace)  # noqa: S102 - executing these files is the purpose
    except ConfigError:
        raise
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        problem = Problem(f"{file}:{_line_of(error, file)}", message)
        raise ConfigError([problem], "the settings files") from error
    finally:
        namespace["__file__"] = outer


def _in_folder(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if FILE_NAME.fullmatch(path.name))


def _line_of(error: Exception, file: Path) -> int:
    """Return the line of *file* at which *error* left it."""
    frames = traceback.extract_tb(error.__traceback__)
    return next(frame.lineno or 1 for frame in reversed(frames) if frame.filename == str(file))


def _warn_of_world_readable(file: Path) -> None:
    if "private" in file.name and file.stat().st_mode & stat.S_IROTH:
        message = f"everybody can read {file}; run: chmod o-r {file}"
        # The line of the settings module that called load(): Python shows a
        # warning once for each text and place.
        warnings.warn(message, WorldReadableWarning, stacklevel=3)
