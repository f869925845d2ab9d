"""
Which revision of the repository this is: of a build, as its wheel says; of a checkout, as git does.

The build's hook reads it by this file too, so it imports the standard library alone, and needs
no program of git's: an image for building often has none.
"""

from pathlib import Path

#: Where the build's hook writes it in the package.
FILE = "revision.txt"

UNKNOWN = "unknown"

#: Digits that are shown.
SHORT = 12


def revision(package: Path | None = None) -> str:
    """Return the revision of the task-server in the folder *package*, this one's by default."""
    package = package or Path(__file__).parents[1]
    try:
        return (package / FILE).read_text(encoding="ascii").strip()[:SHORT] or UNKNOWN
    except (OSError, ValueError):
        # src/task_server of a checkout; an installation has no such neighbour.
        return of_checkout(package.parents[1]) or UNKNOWN


def of_checkout(folder: Path) -> str | None:
    """Return the revision that git has checked out in *folder*; None if it is no checkout."""
    try:
        git = _git_folder(folder / ".git")
        head = _line(git / "HEAD")
        kind, separator, name = head.partition(" ")
        found = _reference(git, name) if kind == "ref:" and separator else head
    except (OSError, ValueError):
        return None
    return found[:SHORT] if found and _is_hash(found) else None


def _git_folder(path: Path) -> Path:
    """Return the folder of git's files; of a second work tree, *path* is a file that names it."""
    if path.is_dir():
        return path
    return path.parent / _line(path).removeprefix("gitdir: ")


def _reference(git: Path, name: str) -> str | None:
    """Return what the branch *name* points to."""
    common = git / _line(git / "commondir") if (git / "commondir").is_file() else git
    for folder in (git, common):
        if (folder / name).is_file():
            return _line(folder / name)
    for line in (common / "packed-refs").read_text(encoding="utf-8").splitlines():
        found, _, packed = line.partition(" ")
        if packed == name:
            return found
    return None


def _line(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _is_hash(text: str) -> bool:
    return len(text) >= SHORT and all(one in "0123456789abcdef" for one in text)
