"""Columns and numbers for people."""

from collections.abc import Iterator, Sequence


def number(value: float | None, digits: int) -> str:
    """Return *value* with so many digits; nothing for None."""
    return "" if value is None else f"{value:,.{digits}f}"


def columns(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        first, *others = (
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        yield f"  {first}  {'  '.join(others)}".rstrip()
