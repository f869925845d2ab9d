"""
Preflight of the folders that a worker needs: the project's code and its media files.

The launcher checks them before it becomes Celery, so that a forgotten mount is
reported at the start, and not by the first task that misses it.
"""

import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from task_server.config.model import Config
from task_server.errors import ConfigError, Finding, Problem

#: Names the folder of media files; containers and services set it.
MEDIA_VARIABLE = "DJANGO_MEDIA_ROOT"

#: Names of a folder's contents that a message shows.
SHOWN = 6


def check(config: Config, environ: Mapping[str, str], here: Path, *, media: bool = True) -> None:
    """
    Check the folders of a worker that is started in the folder *here*; *media* among them.

    Raises:
        ConfigError: With everything that is absent, empty or closed to this user.
    """
    findings = [
        *check_code(config, environ, here),
        *(check_media(config, environ) if media else ()),
    ]
    problems = [Problem(one.setting, one.text) for one in findings if one.level == "error"]
    if problems:
        raise ConfigError(problems, "the folders of the worker")


def check_code(config: Config, environ: Mapping[str, str], here: Path) -> Iterator[Finding]:
    """Check that Python will find the module of the project's app; import nothing."""
    if config.code is not None:
        finding = _code_folder("code", Path(config.code))
        if finding is not None:
            yield finding
            return
        folders = [Path(config.code)]
        settings = {Path(config.code): "code"}
    else:
        folders = [Path(one) for one in environ.get("PYTHONPATH", "").split(":") if one]
        settings = dict.fromkeys(folders, "PYTHONPATH")
    module = config.app.partition(":")[0].partition(".")[0]
    if _is_found(module, [*folders, here]):
        return
    # An image may contain the code itself, so an empty folder alone is no mistake.
    empty = [finding for one in folders if (finding := _code_folder(settings[one], one))]
    yield from empty
    if not empty:
        searched = [*dict.fromkeys([*folders, here])]
        yield Finding(
            "error",
            "app",
            f"there is no module {module!r} in {' or '.join(map(str, searched))} "
            f"({_contents(searched[0])})",
            "mount or name (`code`) its folder, or set TASK_SERVER_APP to the right module",
        )


def _code_folder(setting: str, folder: Path) -> Finding | None:
    """Return what is wrong with *folder*; None if there is something to read in it."""
    repair = f"mount the project there (--volume /path/to/project:{folder}:ro), or name another"
    try:
        empty = next(folder.iterdir(), None) is None
    except FileNotFoundError:
        return Finding("error", setting, f"{folder} does not exist", repair)
    except NotADirectoryError:
        return Finding("error", setting, f"{folder} is not a folder", "name a folder")
    except OSError as error:
        return _unreadable(setting, folder, error)
    return Finding("error", setting, f"{folder} is empty", repair) if empty else None


def _unreadable(setting: str, path: Path, error: OSError) -> Finding:
    return Finding(
        "error",
        setting,
        f"{path} is not readable by {user()} ({error.strerror}){owner(path)}",
        f"let that user read it, such as: chmod -R o+rX {path}",
    )


def _is_found(module: str, folders: list[Path]) -> bool:
    if PathFinder.find_spec(module, [str(folder) for folder in folders]) is not None:
        return True
    try:
        return find_spec(module) is not None
    except ValueError:
        return True  # it is loaded, and says not from where


def _contents(folder: Path) -> str:
    try:
        names = sorted(path.name for path in islice(folder.iterdir(), SHOWN + 1))
    except OSError:
        return "which cannot be read"
    more = ", …" if len(names) > SHOWN else ""
    return f"in {folder} there is {', '.join(names[:SHOWN])}{more}" if names else "which is empty"


def check_code_readable(folder: Path, most: int = 20_000) -> Finding:
    """
    Check that this user can read all Python files under *folder*.

    Args:
        most: Files and folders to check, so that a large tree does not take minutes.
    """
    closed: list[Path] = []

    def note(error: OSError) -> None:
        closed.append(Path(error.filename))

    seen = 0
    for place, names, files in os.walk(folder, onerror=note):
        names[:] = [name for name in names if not name.startswith(".") and name != "node_modules"]
        paths = (Path(place, name) for name in files if name.endswith(".py"))
        closed.extend(path for path in paths if not os.access(path, os.R_OK))
        seen += len(names) + len(files)
        if seen > most:
            break
    if not closed:
        return Finding("ok", "code", f"{folder} is readable by {user()}")
    more = f" and {len(closed) - 1} more" if len(closed) > 1 else ""
    return Finding(
        "error",
        "code",
        f"{closed[0]}{more} cannot be read by {user()}{owner(closed[0])}",
        f"let that user read it, such as: chmod -R o+rX {folder}",
    )


def check_media(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Try the media folder that *environ* names, if it names one."""
    folder = environ.get(MEDIA_VARIABLE)
    if folder:
        yield check_usable(config, MEDIA_VARIABLE, Path(folder))


def check_usable(config: Config, setting: str, folder: Path) -> Finding:
    """Check that tasks can use *folder* for media files as *config* wants it."""
    if config.media == "writable":
        return check_writable(setting, folder)
    try:
        next(folder.iterdir(), None)
    except FileNotFoundError:
        return _absent(setting, folder)
    except NotADirectoryError:
        return Finding("error", setting, f"{folder} is not a folder", "name a folder")
    except OSError as error:
        return _unreadable(setting, folder, error)
    return Finding("ok", setting, f"{folder} is readable by {user()}")


def _absent(setting: str, folder: Path) -> Finding:
    return Finding(
        "error",
        setting,
        f"{folder} does not exist",
        f"create it (or mount it: --volume /path/to/media:{folder}), owned by {user()}",
    )


def check_writable(setting: str, folder: Path) -> Finding:
    """Check that this user can write in *folder*; leave nothing in it."""
    try:
        # Trying is the only way to know: a mount, an ACL or a quota may forbid it.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except NotADirectoryError:
        return Finding("error", setting, f"{folder} is not a folder", "name a folder")
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not folder.exists():
            return _absent(setting, folder)
        return Finding(
            "error",
            setting,
            f"{folder} is not writable by {user()} ({error.strerror}){owner(folder)}",
            "mount it for writing, or give it to that user on the host (chown "
            f"{user()} /path/to/media); where tasks only read, set TASK_SERVER_MEDIA=read-only",
        )
    return Finding("ok", setting, f"{folder} is writable by {user()}")


def owner(path: Path) -> str:
    """Return the owner and mode of *path*, as the end of a message; empty if unknown."""
    try:
        status = path.stat()
    except OSError:
        return ""
    mode = stat.S_IMODE(status.st_mode)
    return f": it belongs to {status.st_uid}:{status.st_gid}, mode {mode:04o}"


def user() -> str:
    """Return the user and the group of this process, as numbers."""
    return f"{os.geteuid()}:{os.getegid()}"
