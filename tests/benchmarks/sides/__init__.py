"""The table of the sides."""

from importlib.metadata import PackageNotFoundError, distribution

from tests.benchmarks.sides.celery import OLD, OURS, STOCK, against
from tests.benchmarks.sides.side import Place, Setup, Side

__all__ = ["SIDES", "Place", "Setup", "Side", "absent", "against"]

#: By name, in the order of the report.
SIDES: dict[str, Side] = {side.name: side for side in (OLD, STOCK, OURS)}


def absent(side: Side) -> str:
    """Return why *side* cannot run here; nothing if it can."""
    for package in side.packages:
        try:
            distribution(package)
        except PackageNotFoundError:
            return f"{package} is not installed (uv run --group benchmarks)"
    return ""
