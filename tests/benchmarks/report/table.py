"""The report for people: a block of lines for each row, one line a side."""

from collections.abc import Iterator

from tests.benchmarks.report.document import Document, is_regression, median, ratio, spread
from tests.benchmarks.report.text import columns, number
from tests.benchmarks.rows import METRICS

#: Metrics beside the main one, as columns.
BESIDE = (
    *("seconds", "share", "worker", "redis", "sender", "spent", "ping", "idle", "idle_redis"),
    *("drain", "again", "check"),
    *("memory", "rate"),
)

#: One of the two says the other.
_EITHER = {"seconds", "rate"}


def machine_lines(machine: Document) -> Iterator[str]:
    """Yield the lines that say where the figures come from."""
    yield (
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}, load {machine['load']}"
    )
    yield (
        f"Python {machine['python']}, {machine['redis']}, PostgreSQL {machine['postgres']}; "
        f"revision {machine['revision']}"
    )
    yield ", ".join(f"{name} {version}" for name, version in machine["versions"].items())


def lines(row: Document, *, judged: bool = True) -> Iterator[str]:
    """Yield the lines of one row; *judged* if regressions are marked."""
    main = METRICS[row["main"]]
    beside = [
        name
        for name in BESIDE
        if name != row["main"]
        and any(name in each for each in row["sides"].values())
        and not {name, row["main"]} <= _EITHER
    ]
    yield f"\n{row['title']} ({row['name']}, {row['count']:,} a round)"
    heads = [main.title, "least … most", "x old", "x stock"]
    heads += [METRICS[name].title for name in beside]
    cells = [["", *heads], *(_cells(row, side, beside, judged=judged) for side in row["sides"])]
    if len(cells) > 1:
        yield from columns(cells)
    for side, reason in row["skipped"].items():
        yield f"  {side} skipped: {reason}"


def _cells(row: Document, side: str, beside: list[str], *, judged: bool) -> list[str]:
    least, most = spread(row, side)
    digits = METRICS[row["main"]].digits
    to_stock = ratio(row, side, "stock") if side != "stock" else None
    slow = judged and side == "ours" and is_regression(to_stock)
    mark = " REGRESSION" if slow else ""
    return [
        side,
        number(median(row, side), digits),
        f"{least:,.{digits}f} … {most:,.{digits}f}",
        number(ratio(row, side, "old") if side != "old" else None, 2),
        number(to_stock, 2) + mark,
        *(number(median(row, side, name), METRICS[name].digits) for name in beside),
    ]
