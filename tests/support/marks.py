"""The runs of the tasks, in a file that no fault of a broker touches."""

from collections import Counter
from pathlib import Path


class Marks:
    """
    The file of the runs.

    A task appends ``+NUMBER`` when it begins and ``NUMBER SECONDS`` when it has
    ended; the seconds are of the clock that all processes of a machine share.
    """

    def __init__(self, folder: Path, name: str = "marks") -> None:
        self.path = folder / name
        self.path.touch()
        self._begun: Counter[int] = Counter()
        self._ended: list[tuple[int, float]] = []
        self._read = 0

    def begun(self) -> Counter[int]:
        """Return how often each task has started."""
        self._refresh()
        return self._begun

    def runs(self) -> Counter[int]:
        """Return how often each task has run to its end."""
        return Counter(number for number, _ in self.ended())

    def ended(self) -> list[tuple[int, float]]:
        """Return (number, time of its end) of each run."""
        self._refresh()
        return self._ended

    def _refresh(self) -> None:
        with self.path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            if line.startswith(b"+"):
                self._begun[int(line)] += 1
            else:
                number, when = line.split()
                self._ended.append((int(number), float(when)))
