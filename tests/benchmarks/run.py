"""The loop: for each setup its workers, for each row its rounds, in each round every side once."""

import itertools
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.crew import Crew
from tests.benchmarks.rows import Row
from tests.benchmarks.servers import servers
from tests.benchmarks.sides import Setup, Side


@dataclass
class Measured:
    """
    What was measured in one row.

    Attributes:
        values: By side and metric, a value of each round.

        skipped: Why a side has none.
    """

    row: Row
    count: int
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def note(self, side: str, found: Mapping[str, float]) -> None:
        """Keep what a round of *side* gave."""
        of_side = self.values.setdefault(side, {})
        for name, value in found.items():
            of_side.setdefault(name, []).append(value)


def measure(
    rows: Sequence[Row], sides: Sequence[Side], folder: Path, rounds: int, *, quick: bool
) -> Iterator[Measured]:
    """Yield each row once it is measured; rows with the same setup follow each other."""
    for number, (setup, group) in enumerate(_by_setup(rows)):
        place = folder / str(number)
        place.mkdir()
        with crews(setup, sides, place) as working:
            for row in group:
                yield _measure(row, working, rounds, quick=quick)
        # The append-only file of big messages has gigabytes.
        shutil.rmtree(place)


def _by_setup(rows: Sequence[Row]) -> list[tuple[Setup, list[Row]]]:
    groups: dict[Setup, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.setup, []).append(row)
    return list(groups.items())


@contextmanager
def crews(setup: Setup, sides: Sequence[Side], folder: Path) -> Iterator[list[Crew]]:
    """Run the servers of *setup*, and each side's workers."""
    with ExitStack() as ends:
        found = ends.enter_context(servers(setup, folder))
        working = []
        for number, side in enumerate(sides):
            broker = found.redis.database(number)
            crew = Crew(side, setup, broker, folder / side.name, found.environ)
            ends.callback(crew.stop)
            working.append(crew)
        for _, crew in itertools.product(range(setup.workers), working):
            crew.start()
        yield working


def _measure(row: Row, working: Sequence[Crew], rounds: int, *, quick: bool) -> Measured:
    """Measure one row: A B C, C B A, A B C and so on, so that no side is always the first."""
    count = row.quick if quick else row.count
    found = Measured(row, count)
    able = [crew for crew in working if {row.kind, "celery"} & crew.side.kinds]
    if not quick:
        for crew in able:
            # What starts with the first tasks is no part of it.
            row.measure(crew, max(8, count // 10))
    for number in range(1 if quick else min(rounds, row.rounds)):
        for crew in reversed(able) if number % 2 else able:
            try:
                found.note(crew.side.name, row.measure(crew, count))
            except AssertionError:
                print(crew.log.read_text()[-3000:], file=sys.stderr)
                raise
    return found
