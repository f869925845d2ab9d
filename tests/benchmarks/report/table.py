"""The report for people: a block of lines for each row, one line a side."""

from collections.abc import Iterator

from tests.benchmarks.report.document import Document, is_regression, median, ratio, spread
from tests.benchmarks.rows import METRICS

#: Metrics beside the main one, as columns.
BESIDE = ("worker", "redis", "sender", "ping", "memory")


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


def lines(row: Document) -> Iterator[str]:
    """Yield the lines of one row."""
    main = METRICS[row["main"]]
    beside = [
        name
        for name in BESIDE
        if name != row["main"] and any(name in each for each in row["sides"].values())
    ]
    yield f"\n{row['title']} ({row['name']}, {row['count']:,} a round)"
    heads = [main.title, "least … most", "x old", "x stock"]
    heads += [METRICS[name].title for name in beside]
    cells = [["", *heads], *(_cells(row, side, beside) for side in row["sides"])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        first, *others = (
            text.ljust(width) if not number else text.rjust(width)
            for number, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        yield f"  {first}  {'  '.join(others)}".rstrip()
    for side, reason in row["skipped"].items():
        yield f"  {side} skipped: {reason}"


def _cells(row: Document, side: str, beside: list[str]) -> list[str]:
    least, most = spread(row, side)
    digits = METRICS[row["main"]].digits
    to_stock = ratio(row, side, "stock") if side != "stock" else None
    mark = " REGRESSION" if side == "ours" and is_regression(to_stock) else ""
    return [
        side,
        number(median(row, side), digits),
        f"{least:,.{digits}f} … {most:,.{digits}f}",
        number(ratio(row, side, "old") if side != "old" else None, 2),
        number(to_stock, 2) + mark,
        *(number(median(row, side, name), METRICS[name].digits) for name in beside),
    ]


def number(value: float | None, digits: int) -> str:
    """Return *value* with so many digits; nothing for None."""
    return "" if value is None else f"{value:,.{digits}f}"
