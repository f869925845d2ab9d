"""The table of what is to be reached: each goal with what this run found."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.benchmarks.report.document import Document, median, ratio
from tests.benchmarks.report.text import columns, number

Rows = Mapping[str, Document]


@dataclass(frozen=True)
class Goal:
    """
    One goal.

    Attributes:
        rows: Without all of which it cannot be judged.

        found: What this run found; None if it did not.

        reach: What is to be reached, in the same unit.

        more: Whether more is better.
    """

    title: str
    rows: tuple[str, ...]
    found: Callable[[Rows], float | None]
    reach: float
    unit: str = "x old"
    more: bool = True

    def is_reached(self, value: float) -> bool:
        """Whether *value* is as good as the goal."""
        return value >= self.reach if self.more else value <= self.reach


def _to_old(row: str, title: str, reach: float) -> Goal:
    return Goal(title, (row,), lambda rows: ratio(rows[row], "ours", "old"), reach)


def _own(row: str, metric: str, title: str, reach: float, unit: str, *, more: bool = False) -> Goal:
    return Goal(title, (row,), lambda rows: median(rows[row], "ours", metric), reach, unit, more)


def _beside(row: str, base: str, metric: str, title: str, reach: float, *, more: bool) -> Goal:
    """Return a goal of a row of ours beside another row of ours."""

    def found(rows: Rows) -> float | None:
        one, other = (median(rows[name], "ours", metric) for name in (row, base))
        return one / other if one is not None and other else None

    return Goal(title, (row, base), found, reach, "x without", more)


def _delayed(pool: str) -> list[Goal]:
    rows = f"delayed-100k-{pool}", f"delayed-0-{pool}"
    title = f"100,000 delayed tasks, {pool}"
    # What two runs of the same differ by is no cost.
    return [
        _beside(*rows, "memory", f"{title}: memory", 1.1, more=False),
        # The first worker puts them aside, once; what each later one pays is judged.
        _beside(*rows, "again", f"{title}: start", 1.2, more=False),
        _beside(*rows, "drain", f"{title}: drain", 1.2, more=False),
        _beside(*rows, "rate", f"{title}: tasks/s", 0.9, more=True),
        Goal(
            f"{title}: idle CPU, ms a second more",
            rows,
            lambda found: _difference(found, *rows),
            5.0,
            "ms",
            more=False,
        ),
    ]


def _difference(rows: Rows, row: str, base: str) -> float | None:
    one, other = (median(rows[name], "ours", "idle") for name in (row, base))
    return None if one is None or other is None else one - other


GOALS = [
    _to_old("select", "one ORM SELECT, result ignored", 5),
    _to_old("select-kept", "one ORM SELECT, result kept", 4),
    _to_old("courtlistener-2", "the same as in CourtListener, 2 processes", 2.5),
    _to_old("courtlistener-8", "the same as in CourtListener, 8 processes", 2.5),
    _beside("names", "addresses", "seconds", "500 names: time of 500 addresses", 1.3, more=False),
    _own("health", "times", "a health check: CPU of a bare Python", 3, "x", more=False),
    _own("http", "share", "1,500 HTTP requests: share of the ideal", 30, "%", more=True),
    _to_old("enqueue", "delay(), result ignored", 4),
    _to_old("enqueue-kept", "delay(), result kept", 4),
    *(
        _to_old(f"{kind}-{pool}", f"{title}, {pool}", reach)
        for pool, reaches in (("prefork", (2, 1.5, 3)), ("gevent", (4, 3, 4)))
        for (kind, title), reach in zip(
            (("chord", "chord of 1,000"), ("chain", "chain of 200"), ("group", "group of 1,000")),
            reaches,
            strict=True,
        )
    ),
    _to_old("payload-100k-prefork", "payload of 100 kB, prefork", 2),
    _to_old("payload-1m-prefork", "payload of 1 MB, prefork", 2),
    _own("payload-100k-gevent", "ping", "longest PING beside 100 kB, gevent", 20, "ms"),
    _own("payload-1m-gevent", "ping", "longest PING beside 1 MB, gevent", 20, "ms"),
    _own("payload-5m-gevent", "ping", "longest PING beside 80 of 5 MB, gevent", 200, "ms"),
    *(
        Goal(
            f"registered and added up, {pool}",
            (f"monitored-{pool}",),
            lambda rows, row=f"monitored-{pool}": ratio(rows[row], "ours", "unmonitored"),
            0.97,
            "x without",
        )
        for pool in ("prefork", "gevent")
    ),
    *(
        Goal(
            f"a task that always fails, {pool}",
            (f"failing-{pool}",),
            lambda rows, row=f"failing-{pool}": ratio(rows[row], "ours", "unkept"),
            0.95,
            "x none kept",
        )
        for pool in ("prefork", "gevent")
    ),
    _own("status-1m", "seconds", "status, 1,000,000 waiting, 10,000 in flight", 1, "s"),
    *_delayed("prefork"),
    *_delayed("gevent"),
]


def lines(rows: Rows) -> Iterator[str]:
    """Yield the lines of the table; goals whose rows were not measured are left out."""
    found = [
        (goal, value)
        for goal in GOALS
        if set(goal.rows) <= set(rows) and (value := goal.found(rows)) is not None
    ]
    if not found:
        return
    yield "\nReach"
    cells = [["work", "found", "reach", ""]]
    for goal, value in found:
        reached = "" if goal.is_reached(value) else "SHORT"
        cells.append([goal.title, f"{number(value, 2)} {goal.unit}", f"{goal.reach:g}", reached])
    yield from columns(cells)
