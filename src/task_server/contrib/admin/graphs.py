"""Small graphs as SVG: numbers only, whose style is the page's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: What one bar of a graph takes, and the gap after it.
STEP: Final = 4
WIDTH: Final = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """
    One stretch of time: how many tasks ended in it, and how many of them failed.

    Attributes:
        is_gap: Nobody counted; the others are 0.
    """

    title: str
    count: int
    failed: int = 0
    is_gap: bool = False


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle; all are texts, since a template writes numbers as the language has them."""

    x: str
    y: str
    height: str
    kind: str


@dataclass(frozen=True, slots=True)
class Column:
    """The rectangles of one bar, and the whole of its height, which shows its title."""

    x: str
    title: str
    rects: Sequence[Rect]


@dataclass(frozen=True, slots=True)
class Graph:
    """What a template draws."""

    width: str
    height: str
    bar: str
    step: str
    columns: Sequence[Column]
    most: int
    total: int
    failed: int
    has_gaps: bool


def graph(bars: Sequence[Bar], height: int) -> Graph:
    """Return the graph of *bars*, as high as *height*; the most that a bar has is its top."""
    most = max((one.count for one in bars), default=0)
    columns = []
    for number, one in enumerate(bars):
        failed = min(max(one.failed, 0), one.count)
        rects = []
        if one.is_gap:
            rects.append(Rect(str(number * STEP), "0", str(height), "gap"))
        base = float(height)
        for count, kind in ((failed, "failed"), (one.count - failed, "done")):
            if count > 0:
                # What there is can be seen, however little.
                size = max(1.0, height * count / most)
                base = max(0.0, base - size)
                rects.append(Rect(str(number * STEP), f"{base:.1f}", f"{size:.1f}", kind))
        if rects:
            columns.append(Column(str(number * STEP), one.title, rects))
    return Graph(
        width=str(max(1, len(bars) * STEP - (STEP - WIDTH))),
        height=str(height),
        bar=str(WIDTH),
        step=str(STEP),
        columns=columns,
        most=most,
        total=sum(one.count for one in bars),
        failed=sum(one.failed for one in bars),
        has_gaps=any(one.is_gap for one in bars),
    )
