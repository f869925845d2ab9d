"""The runs of tasks, in a file that no fault of a broker touches."""

from collections import Counter
from pathlib import Path


class Marks:
    """
    The file of the runs.

    A task of `project/` appends ``start NUMBER PID`` when it starts and ``done NUMBER PID
    SECONDS`` when it has ended; the seconds are of the clock that all processes of a
    machine share. Other lines are for those who read the file themselves.
    """

    def __init__(self, folder: Path, name: str = "tasks.log") -> None:
        self.path = folder / name
        self.path.touch()
        self._started: list[tuple[int, int]] = []
        self._ended: list[tuple[int, float]] = []
        self._read = 0

    def starts(self) -> Counter[int]:
        """Return how often each task has started."""
        self._refresh()
        return Counter(number for number, _ in self._started)

    def ends(self) -> Counter[int]:
        """Return how often each task has run to its end."""
        return Counter(number for number, _ in self.ended())

    def ended(self) -> list[tuple[int, float]]:
        """Return (number, time of its end) of each run."""
        self._refresh()
        return self._ended

    def pids(self) -> set[int]:
        """Return the processes in which tasks have started."""
        self._refresh()
        return {pid for _, pid in self._started}

    def _refresh(self) -> None:
        with self.path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            match line.split():
                case [b"start", number, pid, *_]:
                    self._started.append((int(number), int(pid)))
                case [b"done", number, _, *seconds]:
                    self._ended.append((int(number), float(seconds[0] if seconds else 0)))
