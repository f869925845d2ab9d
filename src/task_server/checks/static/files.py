"""
The Python files of a checkout that may be hostile: which there are, and their bytes.

No link is followed and no pipe opened; what is not read is named, with the reason.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Bounds: entries of folders that are looked at, files that are read, bytes of one, levels.
ENTRIES, FILES, BYTES, LEVELS = 500_000, 20_000, 2**20, 64

#: Folders that hold no code of the project.
SKIPPED = frozenset(
    {"node_modules", "site-packages", "dist-packages", "__pycache__", "bower_components"}
)

#: What marks the root of a virtual environment.
VENV = "pyvenv.cfg"


@dataclass(slots=True)
class Tree:
    """
    The files to read, in order, with what stands in the way of others.

    *files* are paths as they are shown; *packages* the folders with an `__init__.py`;
    *skipped* pairs of a path and the reason.
    """

    files: list[str] = field(default_factory=list)
    packages: set[str] = field(default_factory=set)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)


def tree_of(paths: Sequence[str]) -> Tree:
    """Return the Python files of *paths*: files, and folders with all below."""
    tree = Tree()
    seen: dict[str, None] = {}
    entries = 0
    for given in paths:
        path = os.path.normpath(given)
        if not os.path.isdir(path):  # noqa: PTH112 - a path may be no text
            seen[path] = None
            tree.roots.append(os.path.dirname(path) or ".")  # noqa: PTH120
            continue
        tree.roots.append(path)
        for name, is_python in _walk(path, tree):
            entries += 1
            if is_python:
                seen[name] = None
            if entries >= ENTRIES or len(seen) >= FILES:
                what = f"{FILES} files" if len(seen) >= FILES else f"{ENTRIES} entries"
                tree.skipped.append((path, f"has more than {what}; the rest is not read"))
                break
    tree.files = list(seen)
    _note_packages(tree)
    return tree


def _walk(top: str, tree: Tree) -> Iterator[tuple[str, bool]]:
    """Return each entry below *top*, in order, and whether it is a file of Python."""
    waiting = [(top, 0)]
    while waiting:
        folder, level = waiting.pop()
        try:
            with os.scandir(folder) as found:
                # Bounded, since sorting needs all of them.
                entries = [one for one, _ in zip(found, range(ENTRIES), strict=False)]
        except OSError as error:
            tree.skipped.append((folder, f"cannot be read ({error.strerror})"))
            continue
        entries.sort(key=lambda one: one.name)
        if any(one.name == VENV for one in entries):
            continue
        below = []
        for one in entries:
            path = one.path.removeprefix("./")
            folder_of_code = _is_folder(one)
            yield path, one.name.endswith(".py") and not folder_of_code and not one.is_symlink()
            if folder_of_code and one.name not in SKIPPED and not one.name.startswith("."):
                below.append((path, level + 1))
        if level >= LEVELS and below:
            tree.skipped.append((folder, f"is {LEVELS} folders deep; what is below is not read"))
        else:
            waiting.extend(reversed(below))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _note_packages(tree: Tree) -> None:
    """Note the packages, also those around a file that was given alone."""
    folders = {os.path.dirname(one) for one in tree.files}  # noqa: PTH120
    for folder in folders:
        here = folder
        for _ in range(LEVELS):
            if not os.path.lexists(os.path.join(here, "__init__.py")):  # noqa: PTH118
                break
            tree.packages.add(here)
            if here in ("", "."):
                break
            here = os.path.dirname(here)  # noqa: PTH120


def source_of(path: str) -> bytes:
    """
    Return the bytes of *path*.

    Raises:
        ValueError: When that is no regular file, too large or unreadable; says why.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
    try:
        number = os.open(path, flags)
    except OSError as error:
        what = "is a link" if Path(path).is_symlink() else f"cannot be read ({error.strerror})"
        raise ValueError(what) from None
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is not a regular file")
        if status.st_size > BYTES:
            raise ValueError(f"is larger than {BYTES >> 10} KiB")
        with open(number, "rb", closefd=False) as file:
            data = file.read(BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    finally:
        os.close(number)
    if len(data) > BYTES:
        raise ValueError(f"is larger than {BYTES >> 10} KiB")
    return data
