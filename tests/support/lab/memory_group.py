"""A control group with little memory."""

from contextlib import suppress
from pathlib import Path
from uuid import uuid4


class MemoryGroup:
    """
    A group beside or below our own, in version 1 or 2 of the control groups.

    Raises:
        OSError: It cannot be made here.
    """

    def __init__(self, limit: int) -> None:
        parent, files = _parent()
        self.path = parent / f"faults-{uuid4().hex[:8]}"
        self.path.mkdir()
        (self.path / files[0]).write_text(str(limit))
        # Where swap is not accounted for there is no such file.
        with suppress(FileNotFoundError, PermissionError):
            (self.path / files[1]).write_text(files[2] or str(limit))

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return the command that starts another in this group."""
        return "sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.path)

    def kills(self) -> int:
        """Return how many processes the kernel has killed in it."""
        for name in ("memory.events", "memory.oom_control"):
            path = self.path / name
            if path.exists():
                words = dict(line.split() for line in path.read_text().splitlines())
                return int(words["oom_kill"])
        raise FileNotFoundError(f"{self.path} does not count kills")

    def remove(self) -> None:
        """Remove it; no process may be in it."""
        self.path.rmdir()


#: The file of the limit, that of the limit with swap, and what is written to
#: the latter; '' is the limit itself.
VERSION_1 = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "")
VERSION_2 = ("memory.max", "memory.swap.max", "0")


def _parent() -> tuple[Path, tuple[str, str, str]]:
    """Return the folder to make groups in, and the files of the limits."""
    groups = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path) if number != "0" else {"": path})
    mounts = list(_mounts())
    for root, point, kind, options in mounts:
        if kind == "cgroup" and "memory" in options:
            return _folder(root, point, groups["memory"]), VERSION_1
    for root, point, kind, _ in mounts:
        if kind == "cgroup2" and "memory" in (point / "cgroup.controllers").read_text().split():
            return _prepared(point, _folder(root, point, groups[""])), VERSION_2
    raise FileNotFoundError("no control groups with the controller `memory` are mounted")


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


def _prepared(point: Path, own: Path) -> Path:
    """
    Return a folder of version 2 whose groups may have limits of memory.

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
        if "memory" not in control.read_text().split():
            control.write_text("+memory")
    return parent
