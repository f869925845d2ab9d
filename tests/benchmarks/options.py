"""What the command line says."""

import argparse
from pathlib import Path

from tests.benchmarks.rows import ROWS
from tests.benchmarks.sides import SIDES

GROUPS = sorted({group for row in ROWS.values() for group in row.groups})


def options(arguments: list[str]) -> argparse.Namespace:
    """Return what *arguments* say."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Task servers side by side: medians of interleaved rounds.",
        epilog=f"Rows: {', '.join(ROWS)}. Groups of rows: {', '.join(GROUPS)}.",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="ROW", choices=[*ROWS, *GROUPS], help="rows, or groups of rows"
    )
    parser.add_argument("--sides", nargs="+", metavar="SIDE", choices=SIDES, default=[*SIDES])
    parser.add_argument(
        "--against", type=Path, metavar="CHECKOUT", help="one side more: ours of another checkout"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each row, at most")
    parser.add_argument("--quick", action="store_true", help="each path once, a few tasks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument(
        "--fail",
        action="store_true",
        help="exit with 1 if ours is slower than stock in any row (a ratio below 0.97)",
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder, with all logs")
    chosen = parser.parse_args(arguments)
    names = chosen.only or list(ROWS)
    chosen.rows = [
        row for row in ROWS.values() if row.name in names or set(row.groups) & set(names)
    ]
    return chosen
