"""
Task servers side by side.

    uv run --group benchmarks python -m tests.benchmarks [--help]

Without the group, the peers are skipped. Only ratios of one run mean anything:
the sides take turns on the same machine, with the same Redis.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.machine import machine
from tests.benchmarks.options import options
from tests.benchmarks.report import document, picture, reach, readme, table
from tests.benchmarks.rows import ROWS
from tests.benchmarks.run import measure
from tests.benchmarks.sides import SIDES, Side, absent, against, suits


def main() -> int:
    """Measure, report, and say whether ours is slower than stock anywhere."""
    chosen = options(sys.argv[1:])
    # Workers and servers are stopped then, too, as by Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if chosen.source:
        report = json.loads(chosen.source.read_text())
        print("\n".join(table.machine_lines(report["machine"])))
        for row in report["rows"]:
            print("\n".join(table.lines(row)))
    else:
        report = _measured(chosen)
    if not report["quick"]:
        print("\n".join(reach.lines({row["name"]: row for row in report["rows"]})))
    _write(chosen, report)
    return _verdict(chosen, report)


def _measured(chosen: argparse.Namespace) -> document.Document:
    sides = [SIDES[name] for name in chosen.sides]
    if chosen.against:
        sides.append(against(chosen.against))
    skipped = {side.name: reason for side in sides if (reason := absent(side))}
    for name, reason in skipped.items():
        print(f"{name} skipped: {reason}")
    sides = [side for side in sides if side.name not in skipped]
    report: document.Document = {
        "machine": machine(),
        "quick": chosen.quick,
        "sides": {side.name: side.words for side in sides},
        "skipped": skipped,
        "rows": [],
    }
    print("\n".join(table.machine_lines(report["machine"])), flush=True)
    for row in _rows(chosen, sides):
        report["rows"].append(row)
        print("\n".join(table.lines(row, judged=not chosen.quick)), flush=True)
        if chosen.json:
            # What was measured so far is there if the rest fails.
            _dump(chosen.json, report)
    order = list(ROWS)
    report["rows"].sort(key=lambda row: order.index(row["name"]))
    return report


def _rows(chosen: argparse.Namespace, sides: list[Side]) -> Iterator[document.Document]:
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    # PostgreSQL may be another user.
    folder.chmod(0o755)
    try:
        for found in measure(chosen.rows, sides, folder, chosen.rounds, quick=chosen.quick):
            yield document.row_of(found)
    finally:
        if chosen.keep:
            print(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _write(chosen: argparse.Namespace, report: document.Document) -> None:
    if chosen.json:
        _dump(chosen.json, report)
    if chosen.svg:
        chosen.svg.write_text(picture.svg(report))
    if chosen.publish:
        _dump(readme.JSON, report)
        readme.SVG.write_text(picture.svg(report))
        readme.README.write_text(readme.put(readme.README.read_text(), report))


def _dump(path: Path, report: document.Document) -> None:
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def _verdict(chosen: argparse.Namespace, report: document.Document) -> int:
    """Return the exit code; a trial measures nothing that could be slow."""
    slower = [] if report["quick"] else document.regressions(report["rows"])
    for row in slower:
        print(f"regression: {row['title']}, {document.ratio(row, 'ours', 'stock'):.2f} of stock")
    # That this Python is too old for a side is no fault of the installation.
    skipped = [name for name in report["skipped"] if suits(SIDES[name])]
    skipped += [row["name"] for row in report["rows"] if row["skipped"]]
    return int(bool((chosen.fail and slower) or (chosen.strict and skipped)))


if __name__ == "__main__":
    sys.exit(main())
