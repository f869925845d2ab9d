"""Where control groups can be made, in version 1 or 2 of them."""

from contextlib import suppress
from pathlib import Path


def parent_of(controller: str) -> tuple[Path, int]:
    """
    Return the folder to make groups with *controller* in, and the version of the control groups.

    Raises:
        OSError: When there is none.
    """
    groups = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path) if number != "0" else {"": path})
    mounts = list(_mounts())
    for root, point, kind, options in mounts:
        if kind == "cgroup" and controller in options:
            return _folder(root, point, groups[controller]), 1
    for root, point, kind, _ in mounts:
        if kind == "cgroup2" and controller in (point / "cgroup.controllers").read_text().split():
            return _prepared(point, _folder(root, point, groups[""]), controller), 2
    raise FileNotFoundError(f"no control groups with the controller `{controller}` are mounted")


def prefix_of(group: Path) -> tuple[str, ...]:
    """Return the command that starts another in *group*."""
    return "sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group)


def _mounts() -> list[tuple[str, Path, str, list[str]]]:
    """Return what is mounted: its root, where, the kind of file system, its options."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        kind, _, options = words[words.index("-") + 1 :]
        found.append((words[3], Path(words[4]), kind, options.split(",")))
    return found


def _folder(root: str, point: Path, path: str) -> Path:
    """Return the folder of the group *path*; one that is not visible here is that of the mount."""
    inner = Path(path)
    folder = point / inner.relative_to(root) if inner.is_relative_to(root) else point
    return folder if folder.is_dir() else point


def _prepared(point: Path, own: Path, controller: str) -> Path:
    """
    Return a folder of version 2 whose groups may have *controller*.

    A group with processes cannot have such groups below it, but for the true root.
    """
    if own != point:
        parent = own.parent
    else:
        parent = own
        if (own / "cgroup.type").exists():
            # The root of a container: as in Docker's own tests all move down.
            inner = own / "faults-others"
            inner.mkdir(exist_ok=True)
            for pid in (own / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    (inner / "cgroup.procs").write_text(pid)
    above = [folder for folder in parent.parents if folder.is_relative_to(point)]
    for folder in [*reversed(above), parent]:
        control = folder / "cgroup.subtree_control"
        if controller not in control.read_text().split():
            control.write_text(f"+{controller}")
    return parent
