"""The table of the sides."""

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution

from tests.benchmarks.sides.celery import (
    DIRECT,
    OLD,
    OURS,
    REDIS_PLUS,
    STOCK,
    UNKEPT,
    UNMONITORED,
    against,
)
from tests.benchmarks.sides.peers import PEERS
from tests.benchmarks.sides.side import Place, Setup, Side

__all__ = ["SIDES", "Place", "Setup", "Side", "absent", "against", "missing", "suits"]

#: By name, in the order of the report.
SIDES: dict[str, Side] = {
    side.name: side for side in (OLD, STOCK, OURS, DIRECT, UNMONITORED, UNKEPT, REDIS_PLUS, *PEERS)
}


def absent(side: Side) -> str:
    """Return why *side* cannot run here; nothing if it can."""
    if not suits(side):
        return f"it needs Python {'.'.join(map(str, side.python))}"
    return missing(side.packages)


def suits(side: Side) -> bool:
    """Whether this Python is new enough for *side*."""
    return sys.version_info >= side.python


def missing(packages: Sequence[str]) -> str:
    """Return which of *packages* is not installed; nothing if all are."""
    for package in packages:
        try:
            distribution(package)
        except PackageNotFoundError:
            return f"{package} is not installed (uv run --group benchmarks)"
    return ""
