"""A control group with little processor time."""

from uuid import uuid4

from tests.support.lab.control_groups import parent_of, prefix_of

#: Microseconds: the period of a container's quota.
PERIOD = 100_000


class CpuGroup:
    """
    A group beside or below our own, in version 1 or 2 of the control groups; without a quota first.

    Raises:
        OSError: It cannot be made here.
    """

    def __init__(self) -> None:
        parent, self._version = parent_of("cpu")
        self.path = parent / f"throttled-{uuid4().hex[:8]}"
        self.path.mkdir()

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return the command that starts another in this group."""
        return prefix_of(self.path)

    def limit(self, cores: float) -> None:
        """Let the processes in it have *cores* of processor time, such as 0.1, all together."""
        quota = int(cores * PERIOD)
        if self._version == 1:
            (self.path / "cpu.cfs_period_us").write_text(str(PERIOD))
            (self.path / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (self.path / "cpu.max").write_text(f"{quota} {PERIOD}")

    def free(self) -> None:
        """Take the quota away."""
        if self._version == 1:
            (self.path / "cpu.cfs_quota_us").write_text("-1")
        else:
            (self.path / "cpu.max").write_text(f"max {PERIOD}")

    def throttled(self) -> int:
        """Return in how many periods its quota was used up."""
        lines = (self.path / "cpu.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["nr_throttled"])

    def remove(self) -> None:
        """Remove it; no process may be in it."""
        self.path.rmdir()
