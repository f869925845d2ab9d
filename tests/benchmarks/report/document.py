"""The report as JSON: the machine, and every value of every round."""

import statistics
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.rows import METRICS
from tests.benchmarks.run import Measured

Document = dict[str, Any]

#: What `ours` may be slower than `stock`, by the noise of a quiet machine.
REGRESSION = 0.97


def row_of(measured: Measured) -> Document:
    """Return what was measured in one row."""
    row = measured.row
    return {
        "name": row.name,
        "title": row.title,
        "main": row.main,
        "count": measured.count,
        "sides": {
            side: {name: [round(each, 4) for each in values] for name, values in metrics.items()}
            for side, metrics in measured.values.items()
        },
        "skipped": measured.skipped,
    }


def median(row: Document, side: str, metric: str = "") -> float | None:
    """Return the median of a metric, the main one unless named; None if it was not measured."""
    values = row["sides"].get(side, {}).get(metric or row["main"])
    return statistics.median(values) if values else None


def spread(row: Document, side: str, metric: str = "") -> tuple[float, float]:
    """Return the least and the most of a metric."""
    values = row["sides"][side][metric or row["main"]]
    return min(values), max(values)


def ratio(row: Document, side: str, base: str, metric: str = "") -> float | None:
    """
    Return how many times better *side* is than *base*: 2 is twice as fast, or half the time.

    It is the median of the ratios of single rounds, in which both met the same
    machine; None if one of them was not measured.
    """
    metric = metric or row["main"]
    first, second = (row["sides"].get(name, {}).get(metric) for name in (base, side))
    if not first or not second:
        return None
    more = METRICS[metric].more_is_better
    ratios = [
        (own / other if more else other / own)
        for other, own in zip(first, second, strict=True)
        if own and other
    ]
    return statistics.median(ratios) if ratios else None


def regressions(rows: Sequence[Document]) -> list[Document]:
    """Return the rows in which ours is slower than stock."""
    return [row for row in rows if is_regression(ratio(row, "ours", "stock"))]


def is_regression(found: float | None) -> bool:
    """Whether a ratio to stock is one that no user may have."""
    return found is not None and found < REGRESSION
