"""
Task servers side by side.

    uv run python -m tests.benchmarks [--help]
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.machine import machine
from tests.benchmarks.options import options
from tests.benchmarks.report import document, table
from tests.benchmarks.run import measure
from tests.benchmarks.sides import SIDES, absent, against


def main() -> int:
    """Measure, report, and say whether ours is slower than stock anywhere."""
    chosen = options(sys.argv[1:])
    sides = [SIDES[name] for name in chosen.sides]
    if chosen.against:
        sides.append(against(chosen.against))
    for side in sides:
        if reason := absent(side):
            print(f"{side.name} skipped: {reason}")
    sides = [side for side in sides if not absent(side)]
    report: document.Document = {
        "machine": machine(),
        "sides": {side.name: side.words for side in sides},
        "rows": [],
    }
    print("\n".join(table.machine_lines(report["machine"])), flush=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    # PostgreSQL may be another user.
    folder.chmod(0o755)
    try:
        for found in measure(chosen.rows, sides, folder, chosen.rounds, quick=chosen.quick):
            row = document.row_of(found)
            report["rows"].append(row)
            print("\n".join(table.lines(row)), flush=True)
            if chosen.json:
                chosen.json.write_text(json.dumps(report, indent=1) + "\n")
    finally:
        if chosen.keep:
            print(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    slower = document.regressions(report["rows"])
    for row in slower:
        print(f"regression: {row['title']}, {document.ratio(row, 'ours', 'stock'):.2f} of stock")
    return 1 if chosen.fail and slower else 0


if __name__ == "__main__":
    sys.exit(main())
