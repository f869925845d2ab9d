"""A control group with little memory."""

from contextlib import suppress
from uuid import uuid4

from tests.support.lab.control_groups import parent_of, prefix_of

#: By version: the file of the limit, that of the limit with swap, and what is written to
#: the latter; '' is the limit itself.
FILES = {
    1: ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", ""),
    2: ("memory.max", "memory.swap.max", "0"),
}


class MemoryGroup:
    """
    A group beside or below our own, in version 1 or 2 of the control groups.

    Raises:
        OSError: It cannot be made here.
    """

    def __init__(self, limit: int) -> None:
        parent, version = parent_of("memory")
        files = FILES[version]
        self.path = parent / f"faults-{uuid4().hex[:8]}"
        self.path.mkdir()
        (self.path / files[0]).write_text(str(limit))
        # Where swap is not accounted for there is no such file.
        with suppress(FileNotFoundError, PermissionError):
            (self.path / files[1]).write_text(files[2] or str(limit))

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return the command that starts another in this group."""
        return prefix_of(self.path)

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
