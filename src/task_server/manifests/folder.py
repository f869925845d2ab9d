"""A folder of written files: only files that an earlier run wrote are replaced or removed."""

from collections.abc import Mapping
from pathlib import Path

from task_server.errors import ConfigError, Problem
from task_server.manifests.text import WRITTEN


def write(folder: Path, files: Mapping[str, str]) -> None:
    """
    Write *files* into *folder*, and remove those of an earlier run; leave all others alone.

    A file that has its contents already is not touched.

    Raises:
        ConfigError: When a file of somebody else has the name of one; nothing is written then.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {path.name: path for path in sorted(folder.glob("*.yaml"))}
        ours = {name for name, path in there.items() if _is_written(path)}
    except OSError as error:
        raise _refused(f"{folder} cannot be used ({error.strerror}); name another") from None
    foreign = sorted((there.keys() & files.keys()) - ours)
    if foreign:
        raise _refused(
            f"{folder} has files of your own: {', '.join(foreign)}; name another folder, and list "
            "that among the resources of yours"
        )
    try:
        for name, text in files.items():
            path = folder / name
            if name not in ours or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
        for name in sorted(ours - files.keys()):
            there[name].unlink()
    except OSError as error:
        raise _refused(f"{error.filename} cannot be written ({error.strerror})") from None


def _is_written(path: Path) -> bool:
    """Whether the file at *path* begins as ours do."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().rstrip("\n") == WRITTEN
    except UnicodeDecodeError:
        return False


def _refused(message: str) -> ConfigError:
    return ConfigError([Problem("--output", message)], "the command line")
