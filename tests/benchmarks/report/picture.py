"""The report as a picture: for each row a bar of each side, in multiples of the old one."""

from collections.abc import Iterator
from html import escape

from tests.benchmarks.report.document import Document, ratio

#: Sides that have a bar, in this order, with what the legend calls them.
SIDES = {"ours": "task-server", "stock": "celery worker"}

#: Rows that are drawn: those that a reader recognises his own work in.
PICTURED = (
    *("noop-2", "noop-8", "noop-gevent", "results", "results-gevent"),
    *("select", "select-kept", "courtlistener-2", "courtlistener-8", "waits"),
    *("http", "names", "addresses", "enqueue", "enqueue-kept"),
    *("chord-prefork", "chain-prefork", "group-prefork"),
    *("chord-gevent", "chain-gevent", "group-gevent"),
    *("payload-1k-prefork", "payload-100k-prefork", "payload-1m-prefork"),
    *("payload-1k-gevent", "payload-100k-gevent", "payload-1m-gevent"),
    *("waiting-1m", "queues-20", "documents"),
    *("latency-prefork", "latency-gevent", "idle-prefork", "idle-gevent"),
    *("start-prefork", "start-gevent"),
)

#: In pixels: the labels, the bars, the numbers, a bar, a row.
LABELS, BARS, NUMBERS, BAR, ROW = 360, 400, 60, 9, 30
TOP, BOTTOM = 64, 24

#: A bar that is longer is cut, and says its number all the same.
LONGEST = 12.0

#: Readable on white and on black.
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 14px; font-weight: 600 }
  .small { fill: #57606a }
  .ours { fill: #0969da } .stock { fill: #8c959f }
  line { stroke: #d0d7de } .one { stroke: #57606a; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 }
    .ours { fill: #58a6ff } .stock { fill: #6e7681 }
    line { stroke: #30363d } .one { stroke: #9198a1 }
  }
"""


def svg(report: Document) -> str:
    """Return the picture of *report*."""
    by_name = {row["name"]: row for row in report["rows"]}
    rows = [
        by_name[name]
        for name in PICTURED
        if name in by_name and ratio(by_name[name], "ours", "old") is not None
    ]
    width = LABELS + BARS + NUMBERS
    height = TOP + ROW * len(rows) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"',
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(_title(report))}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="12" y="22">{escape(_title(report))}</text>',
        *_legend(),
        *_scale(height),
    ]
    for number, row in enumerate(rows):
        parts.extend(_bars(row, TOP + ROW * number))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _title(report: Document) -> str:
    return f"Times as fast as the old task server, {report['machine']['cores']} cores"


def _legend() -> Iterator[str]:
    x = 12
    for side, words in SIDES.items():
        yield f'<rect class="{side}" x="{x}" y="35" width="10" height="10" rx="2"/>'
        yield f'<text class="small" x="{x + 15}" y="44">{words}</text>'
        x += 110


def _scale(height: int) -> Iterator[str]:
    """Yield a line for each of some multiples, that of the old one itself dashed."""
    for multiple in (1, 2, 4, 6, 8, 10, 12):
        x = LABELS + _length(multiple)
        kind = ' class="one"' if multiple == 1 else ""
        yield f'<line{kind} x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{height - BOTTOM}"/>'
        yield (
            f'<text class="small" x="{x:.1f}" y="{TOP - 10}" text-anchor="middle">{multiple}</text>'
        )


def _bars(row: Document, y: int) -> Iterator[str]:
    yield (
        f'<text x="{LABELS - 8}" y="{y + ROW / 2 + 1}" text-anchor="end">'
        f"{escape(row['title'])}</text>"
    )
    found = {side: ratio(row, side, "old") for side in SIDES}
    for number, (side, value) in enumerate(found.items()):
        if value is None:
            continue
        top, length = y + 3 + number * (BAR + 1), _length(min(value, LONGEST))
        yield (
            f'<rect class="{side}" x="{LABELS}" y="{top}" width="{length:.1f}" '
            f'height="{BAR}" rx="1"/>'
        )
        # Not upon the line of the old one.
        beside = max(length, _length(1)) if value < 1 else length
        yield (
            f'<text class="small" style="font-size:10px" x="{LABELS + beside + 4:.1f}" '
            f'y="{top + BAR - 1}">{value:.1f}</text>'
        )


def _length(multiple: float) -> float:
    return multiple / LONGEST * BARS
