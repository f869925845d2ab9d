"""What the command line says."""

import argparse
from pathlib import Path

from tests.benchmarks.rows import ROWS
from tests.benchmarks.sides import SIDES

GROUPS = sorted({group for row in ROWS.values() for group in row.groups})


def options(arguments: list[str]) -> argparse.Namespace:
    """Return what *arguments* say; `rows` are the chosen ones."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Task servers side by side: medians of interleaved rounds.",
        epilog=f"Rows: {', '.join(ROWS)}. Groups of rows: {', '.join(GROUPS)}.",
    )
    _what(parser)
    _how(parser)
    _report(parser)
    chosen = parser.parse_args(arguments)
    names = chosen.only or list(ROWS)
    chosen.rows = [
        row for row in ROWS.values() if row.name in names or set(row.groups) & set(names)
    ]
    return chosen


def _what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", nargs="+", metavar="ROW", choices=[*ROWS, *GROUPS], help="rows, or groups of rows"
    )
    parser.add_argument(
        *("--sides",), nargs="+", metavar="SIDE", choices=SIDES, default=[*SIDES],
        help=f"of {', '.join(SIDES)}",
    )  # fmt: skip
    parser.add_argument(
        "--against", type=Path, metavar="CHECKOUT", help="one side more: ours of another checkout"
    )


def _how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5, help="of each row, at most (5)")
    parser.add_argument("--quick", action="store_true", help="each path once, a few tasks")
    parser.add_argument(
        "--fail",
        action="store_true",
        help="exit with 1 if ours is slower than stock in any row (a ratio below 0.97)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 if anything had to be skipped"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder, with all logs")


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FILE", help="measure nothing: report this JSON"
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="write docs/benchmarks.json and .svg, and the README's block",
    )
