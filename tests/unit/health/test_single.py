"""One process at a time writes a heartbeat."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from task_server.errors import ConfigError
from task_server.health import single

HOLD = """
import os, sys
from pathlib import Path
from task_server.health import single
single.hold(Path(sys.argv[1]), "worker w")
print(os.getpid(), flush=True)
{then}
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    """Start a process that holds the lock of `w.json`; *then* is what it does next."""
    started: list[subprocess.Popen[str]] = []

    def start(then: str = "") -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD.format(then=then), str(tmp_path / "w.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_one_is_refused_by_name(
    tmp_path: Path, holder: Callable[..., tuple[subprocess.Popen[str], int]]
) -> None:
    """
    The error says who has it and what to do; when that one is gone, the next has it.
    """
    process, pid = holder()

    with pytest.raises(ConfigError) as caught:
        single.hold(tmp_path / "w.json", "worker w")
    process.kill()
    process.wait()
    single.hold(tmp_path / "w.json", "worker w")

    assert f"the worker w runs already: process {pid} writes {tmp_path}/w.json" in str(caught.value)
    assert "give this one another name, or set another runtime_dir" in str(caught.value)


def test_children_that_outlive_it_do_not_have_it(
    tmp_path: Path, holder: Callable[..., tuple[subprocess.Popen[str], int]]
) -> None:
    """
    A pool child that is left for a moment must not keep the next worker out.
    """
    then = "child = os.fork()\nif child: print(child, flush=True)"
    process, _ = holder(then)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    try:
        single.hold(tmp_path / "w.json", "worker w")
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_folder_that_cannot_be_written_locks_nothing(tmp_path: Path) -> None:
    """
    There will be no heartbeat either, which is said when it is written; a link is not followed.
    """
    (tmp_path / "v.lock").symlink_to(tmp_path / "other")

    single.hold(tmp_path / "absent" / "w.json", "worker w")
    single.hold(tmp_path / "v.json", "worker v")

    assert not (tmp_path / "other").exists()
