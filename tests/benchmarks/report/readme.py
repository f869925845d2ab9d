"""The block of the README that shows a report: written by the command, never by hand."""

from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.report.document import Document, median, ratio
from tests.benchmarks.report.picture import PICTURED
from tests.benchmarks.report.text import number
from tests.benchmarks.rows import METRICS

ROOT = Path(__file__).parents[3]

BEGIN = "<!-- benchmarks: written by `python -m tests.benchmarks --publish` -->"
END = "<!-- end of benchmarks -->"

#: What the README shows is made from this report.
JSON = ROOT / "docs" / "benchmarks.json"
SVG = ROOT / "docs" / "benchmarks.svg"
README = ROOT / "README.md"

_SIDES = ("old", "stock", "ours")

#: Rows of the table: those of the picture, and some that are no matter of speed.
SHOWN = (
    *(*PICTURED, "http-alone", "payload-5m-gevent"),
    *(f"delayed-{count}-{pool}" for pool in ("prefork", "gevent") for count in ("0", "100k")),
)


def block(report: Document) -> str:
    """Return the lines between the marks, the marks included."""
    return "\n".join([BEGIN, *_lines(report), END])


def put(text: str, report: Document) -> str:
    """
    Return *text*, the README, with the block of *report* in it.

    Raises:
        ValueError: It has no marks.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README has no block between {BEGIN} and {END}")
    return head + block(report) + tail


def _lines(report: Document) -> Iterator[str]:
    machine = report["machine"]
    yield f"![{machine['cores']} cores, as a multiple of the old task server](docs/benchmarks.svg)"
    yield ""
    yield (
        f"{machine['cores']} cores of {machine['processor']}, Linux {machine['kernel']}, Python "
        f"{machine['python']}, {machine['redis']}, PostgreSQL {machine['postgres']}, "
        f"Celery {machine['versions']['celery']}; load {machine['load']} at the start:"
    )
    yield ""
    yield "| | unit | old | `celery worker` | ours | x old | x stock |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in report["rows"]:
        if row["name"] in SHOWN and "ours" in row["sides"]:
            yield _line(row)


def _line(row: Document) -> str:
    metric = METRICS[row["main"]]
    values = [number(median(row, side), metric.digits) for side in _SIDES]
    ratios = [number(ratio(row, "ours", base), 1) for base in ("old", "stock")]
    return f"| {' | '.join([row['title'], metric.title, *values, *ratios])} |"
