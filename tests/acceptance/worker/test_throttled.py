"""A worker whose cgroup has a tenth of a processor, at full load, is not restarted for that."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab.cpu_group import CpuGroup
from tests.support.wait import PATIENCE, until
from tests.support.worker import EITHER, Worker

#: A loop counts as blocked after so many seconds, in the place of 30.
STALE = 3.0

#: What a task computes, in seconds of the clock; most of them it has no processor.
SECONDS = 6.0


@pytest.fixture
def group(require: Any) -> Iterator[CpuGroup]:
    """Return a group that may be given a quota; what ran in it is gone when it ends."""
    try:
        one = CpuGroup()
    except OSError as error:
        require("cgroup", f"a control group with a quota cannot be made: {error}")
    yield one
    until(lambda: _removed(one), "an empty group")


def _removed(group: CpuGroup) -> bool:
    try:
        group.remove()
    except OSError:
        return False
    return True


def age_of(worker: Worker) -> float:
    """Return how old its heartbeat is."""
    beat = worker.heartbeat()
    return 0.0 if beat is None else time.monotonic() - beat.monotonic


@pytest.mark.parametrize("pool", EITHER)
def test_a_throttled_worker_is_alive(
    pool: str, group: CpuGroup, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    Under gevent the computing tasks let no heartbeat through for longer than a loop may be
    blocked; the time in which it had no processor does not count.
    """
    worker = start(pool, prefix=group.prefix)
    worker.hear("READY=1")
    group.limit(0.1)
    try:
        for number in range(2):
            send("compute", number, SECONDS)
        ages, verdicts = [], []

        def has_ended() -> bool:
            ages.append(age_of(worker))
            verdicts.append(worker.verdict(stale=STALE))
            return len(worker.ends()) == 2

        until(has_ended)
        throttled = group.throttled()
    finally:
        group.free()

    assert [] == [one.reason for one in verdicts if not one.alive]
    assert throttled > 0
    if pool == "gevent":
        # Else nothing was shown.
        assert max(ages) > STALE
    until(lambda: worker.verdict(stale=STALE).ready)


def test_a_probe_in_the_same_group_comes_to_an_end(
    folder: Path, group: CpuGroup, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    It shares the tenth of a processor with the load, and says that the worker is alive.
    """
    worker = start("prefork", prefix=group.prefix)
    worker.hear("READY=1")
    group.limit(0.1)
    try:
        for number in range(2):
            send("compute", number, SECONDS)
        until(lambda: len(worker.starts()) == 2)
        asked = subprocess.run(
            [*group.prefix, sys.executable, "-m", "task_server", "health", "w"],
            env={**os.environ, "TASK_SERVER_CONFIG": str(folder / "task-server.toml")},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        group.free()

    assert 0 == asked.returncode, asked.stdout + asked.stderr
    until(lambda: len(worker.ends()) == 2)
