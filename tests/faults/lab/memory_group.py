"""A control group with little memory."""

from pathlib import Path
from uuid import uuid4

ROOT = Path("/sys/fs/cgroup")


class MemoryGroup:
    """
    A group below our own, in version 1 or 2 of the control groups.

    Raises:
        OSError: It cannot be made here.
    """

    def __init__(self, limit: int) -> None:
        parent, file = _parent()
        self.path = parent / f"faults-{uuid4().hex[:8]}"
        self.path.mkdir()
        (self.path / file).write_text(str(limit))

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


def _parent() -> tuple[Path, str]:
    """Return the folder to make groups in, and the file of the limit."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return _visible(ROOT / "memory", path), "memory.limit_in_bytes"
    own = _visible(ROOT, path)
    # A group with processes cannot have groups with limits below it, but for the root.
    parent = own if own == ROOT else own.parent
    (parent / "cgroup.subtree_control").write_text("+memory")
    return parent, "memory.max"


def _visible(root: Path, path: str) -> Path:
    """Return the folder of the group *path*; in a container it may be the root."""
    folder = root / path.strip("/")
    return folder if folder.is_dir() else root
