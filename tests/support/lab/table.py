"""The report: a row for each fault and kind of worker, both transports side by side."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.lab.lanes import Kind

SIDES = ("atomic", "kombu")


@dataclass(frozen=True)
class Cell:
    """
    What became of one worker under one fault.

    Attributes:
        lost: Messages that were not run to their end, and are nowhere in Redis.

        left: Messages that are queued or unacked when the test ends.

        dead: Messages that were never run and became dead letters, since too
            many workers died that had them.

        extra: Runs of messages that had been run to their end before.

        resumes: Seconds to the first run of a message sent after the fault, as
            the table shows them; empty where they are not measured.

        alive: Whether the worker lives.
    """

    sent: int
    lost: int
    left: int = 0
    dead: int = 0
    extra: int | None = None
    resumes: str = ""
    alive: str = ""

    def words(self) -> tuple[str, ...]:
        """Return the fields as the table shows them."""
        return (
            *(str(self.sent), str(self.lost), str(self.left), str(self.dead)),
            "" if self.extra is None else str(self.extra),
            *(self.resumes, self.alive),
        )


HEAD = ("sent", "lost", "left", "dead", "extra", "resumes", "alive")


class Table:
    """All cells of a run."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str, str], dict[str, Cell]] = {}

    def add(self, fault: str, kind: Kind, cell: Cell) -> None:
        """Note *cell*."""
        self._cells.setdefault((fault, kind.pool, kind.acks), {})[kind.transport] = cell

    def cell(self, fault: str, kind: Kind) -> Cell:
        """Return what was noted."""
        return self._cells[fault, kind.pool, kind.acks][kind.transport]

    def total(self, side: str) -> tuple[int, int]:
        """Return how many cells *side* has with late acks, and what was lost in them."""
        cells = [
            sides[side]
            for (_, _, acks), sides in self._cells.items()
            if side in sides and acks == "late"
        ]
        return len(cells), sum(cell.lost for cell in cells)

    def lines(self) -> Iterator[str]:
        """Return the lines of the report."""
        if not self._cells:
            return
        nothing = ("",) * len(HEAD)
        rows = [("fault", "pool", "acks", *HEAD, *HEAD)]
        for (fault, pool, acks), sides in self._cells.items():
            words = [sides[side].words() if side in sides else nothing for side in SIDES]
            rows.append((fault, pool, acks, *words[0], *words[1]))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        first = sum(widths[:3]) + 2 * 3
        split = 3 + len(HEAD)
        second = sum(widths[3:split]) + 2 * len(HEAD)
        yield f"{'':{first}}| {'atomic':{second}}| kombu"
        for row in rows:
            words = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
            groups = (words[:3], words[3:split], words[split:])
            yield "  | ".join("  ".join(group) for group in groups).rstrip()
        for side in SIDES:
            cells, lost = self.total(side)
            yield f"{side}, acks late: {lost} lost in {cells} cells"
        yield "late: `task-server worker` with either transport; early, atomic: the same with"
        yield "delivery = at-most-once; early, kombu: `celery worker` with Celery's settings."
