"""The loop: for each setup its workers, for each row its rounds, in each round every side once."""

import itertools
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.benchmarks.crew import Crew
from tests.benchmarks.rows import Row
from tests.benchmarks.servers import UnavailableError, servers
from tests.benchmarks.sides import Setup, Side, missing

#: A trial has no more workers of a side, and no more processes of a worker.
FEW = 2


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
    for number, (setup, group) in enumerate(_by_setup(rows, quick=quick).items()):
        able = [side for side in sides if any(_has(row, side) for row in group)]
        place = folder / str(number)
        place.mkdir()
        try:
            with crews(setup, able, place) as working:
                for row in group:
                    yield _measure(row, working, rounds, quick=quick)
        except UnavailableError as error:
            for row in group:
                yield Measured(row, row.count, skipped={side.name: str(error) for side in able})
        # The append-only file of big messages has gigabytes.
        shutil.rmtree(place)


def _by_setup(rows: Sequence[Row], *, quick: bool) -> dict[Setup, list[Row]]:
    groups: dict[Setup, list[Row]] = {}
    for row in rows:
        groups.setdefault(_smaller(row.setup) if quick else row.setup, []).append(row)
    return groups


def _smaller(setup: Setup) -> Setup:
    concurrency = min(setup.concurrency, FEW) if setup.pool == "prefork" else setup.concurrency
    return replace(setup, concurrency=concurrency, workers=min(setup.workers, FEW))


def _has(row: Row, side: Side) -> bool:
    """Whether *row* is measured with *side*."""
    if row.sides and side.name not in row.sides:
        return False
    return bool({row.kind, "celery"} & side.kinds)


@contextmanager
def crews(setup: Setup, sides: Sequence[Side], folder: Path) -> Iterator[list[Crew]]:
    """
    Run the servers of *setup*, and each side's workers.

    Raises:
        UnavailableError: Something that the setup needs cannot be had here.
    """
    if reason := missing(setup.packages):
        raise UnavailableError(reason)
    with ExitStack() as ends:
        found = ends.enter_context(servers(setup, folder))
        working = []
        for number, side in enumerate(sides):
            broker = found.redis.database(number)
            crew = Crew(
                *(side, setup, broker, folder / side.name, found.environ), prefix=found.prefix
            )
            ends.callback(crew.stop)
            working.append(crew)
        for number, crew in itertools.product(range(setup.workers), working):
            crew.start()
            if number % 4 == 3:
                # No machine takes hundreds of starts at a time.
                crew.ready()
        for crew in working:
            crew.ready()
        yield working


def _measure(row: Row, working: Sequence[Crew], rounds: int, *, quick: bool) -> Measured:
    """Measure one row: A B C, C B A, A B C and so on, so that no side is always the first."""
    count = row.quick if quick else row.count
    found = Measured(row, count)
    able = [crew for crew in working if _has(row, crew.side)]
    if row.warm and not quick:
        for crew in able:
            # What starts with the first tasks is no part of it.
            _round(found, crew, max(8, count // 10), counts=False)
    for number in range(1 if quick else min(rounds, row.rounds)):
        for crew in reversed(able) if number % 2 else able:
            _round(found, crew, count)
    return found


def _round(found: Measured, crew: Crew, count: int, *, counts: bool = True) -> None:
    """Measure one round; a side that has failed once has no figure in this row."""
    name = crew.side.name
    if name in found.skipped:
        return
    try:
        values = found.row.measure(crew, count)
    except AssertionError as error:
        print(f"{found.row.name}, {name}: {error}", file=sys.stderr)
        print(crew.log.read_text(errors="replace")[-3000:], file=sys.stderr)
        found.skipped[name] = f"it failed: {error}"
        found.values.pop(name, None)
        # What is left of it must not run in the next row.
        crew.broker.client.flushdb()
    else:
        if counts:
            found.note(name, values)
