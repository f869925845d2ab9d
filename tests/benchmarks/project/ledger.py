"""
What has run, and when, in a file that tasks of any process write to and the benchmark reads.

A run costs a task half a microsecond: no system call, no lock. The file has a byte for
each number of a task (how often it has run) and, behind all of these, eight bytes (when it ended
last, in nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share).
"""

import mmap
import time
from pathlib import Path

#: The most tasks of one round.
CAPACITY = 1 << 20

#: The number of tasks that nobody counts: they wait behind those that are measured.
NOBODY = CAPACITY - 1

SIZE = CAPACITY * 9


class Ledger:
    """The file, mapped into memory."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)
        whole = memoryview(self._map)
        self._ended = whole[CAPACITY:].cast("q")

    @classmethod
    def create(cls, path: Path) -> "Ledger":
        """Make the file, in which nothing has run."""
        with path.open("wb") as file:
            file.truncate(SIZE)
        return cls(path)

    def record(self, number: int) -> None:
        """Record that the task *number* has run."""
        self._ended[number] = time.monotonic_ns()
        self._map[number] = min(255, self._map[number] + 1)

    def forget(self, count: int) -> None:
        """Forget the runs of the first *count* tasks."""
        self._map[:count] = bytes(count)

    def is_complete(self, count: int) -> bool:
        """Whether the first *count* tasks have run."""
        return self._map.find(b"\0", 0, count) < 0

    def more_than_once(self, count: int) -> list[int]:
        """Return which of the first *count* tasks have run several times."""
        return [number for number, runs in enumerate(self._map[:count]) if runs > 1]

    def done(self, count: int) -> int:
        """Return how many of the first *count* tasks have run."""
        return count - self._map[:count].count(0)

    def ended(self, count: int) -> float:
        """Return when the last of the first *count* tasks ended, in seconds of time.monotonic()."""
        return max(self._ended[:count]) / 1e9
