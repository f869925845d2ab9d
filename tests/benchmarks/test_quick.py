"""A trial of the benchmark: each row, with each side, runs its tasks once."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.benchmarks.rows import ROWS
from tests.benchmarks.sides import SIDES, suits
from tests.support.wait import until

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


@pytest.mark.slow
def test_a_run_that_is_ended_leaves_no_process(tmp_path):
    """SIGTERM, of a time limit for one, stops the workers and servers that it has started."""
    command = [sys.executable, "-m", "tests.benchmarks", "--only", "noop-2", "--rounds", "1000"]
    command += ["--sides", "old", "stock", "ours"]
    with subprocess.Popen(
        command, cwd=ROOT, env=_environ(tmp_path), stdout=subprocess.DEVNULL
    ) as running:
        try:
            until(lambda: len(list(tmp_path.glob("bench-*/0/*/ready/*"))) == 3, "the workers", 120)
            assert len(_processes(tmp_path)) > 3

            running.terminate()

            assert 128 + signal.SIGTERM == running.wait(60)
        finally:
            running.kill()
    until(lambda: not _processes(tmp_path), "the end of all processes")
    assert [] == list(tmp_path.glob("bench-*"))


def _processes(folder: Path) -> list[str]:
    """Return the pids of what runs in *folder*."""
    found = []
    for each in Path("/proc").iterdir():
        with suppress(OSError):
            if each.name.isdigit() and (each / "cwd").readlink().is_relative_to(folder):
                found.append(each.name)
    return found


def _environ(folder: Path) -> dict[str, str]:
    """Return the environment without the one that pytest runs in."""
    dropped = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}
    return {name: value for name, value in os.environ.items() if name not in dropped} | {
        "TMPDIR": str(folder)
    }
