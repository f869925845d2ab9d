"""A trial of the benchmark: each row, with each side, runs its tasks once."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.rows import ROWS
from tests.benchmarks.sides import SIDES, suits

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_each_path_runs_each_task_once(require, tmp_path):
    """
    Every row works on every side that can run it, peers included; nothing is skipped.

    The time says nothing here. That each task ran, and ran once, is what the
    benchmark itself refuses to go on without.
    """
    uv = shutil.which("uv")
    if uv is None:
        require("uv", "it is not on PATH")
    found = tmp_path / "found.json"
    command = [
        *(uv, "run", "--frozen", "--isolated", "--group", "benchmarks"),
        *("--python", sys.executable, "python", "-m", "tests.benchmarks"),
        *("--quick", "--strict", "--json", str(found)),
    ]

    done = subprocess.run(
        command, cwd=ROOT, env=_environ(tmp_path), capture_output=True, text=True, check=False
    )

    if done.returncode and "Failed to fetch" in done.stderr:
        require("uv", "the peers cannot be downloaded")
    if done.returncode and "no namespace" in done.stdout:
        require("netns", "no network namespace can be made")
    assert 0 == done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    rows = json.loads(found.read_text())["rows"]
    assert list(ROWS) == [row["name"] for row in rows]
    able = {side.name for side in SIDES.values() if suits(side)}
    assert able == {name for row in rows for name in row["sides"]}


def _environ(folder: Path) -> dict[str, str]:
    """Return the environment without the one that pytest runs in."""
    dropped = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}
    return {name: value for name, value in os.environ.items() if name not in dropped} | {
        "TMPDIR": str(folder)
    }
