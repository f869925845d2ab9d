"""Health names what is stuck: a task, a child of the pool, the worker itself."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from task_server.health import command as health
from tests.support.wait import until
from tests.support.worker import EITHER, POOLS, Worker


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop the process *pid* for as long as this lasts."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("pool", POOLS)
def test_the_task_that_runs_for_longest_is_named(
    pool: str,
    folder: Path,
    start: Callable[..., Worker],
    send: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    With its id and for how long, as a line and as JSON; before gevent's loop has stalled, too.
    """
    worker = start(pool).ready()
    send("work", 1, 300.0)
    beat = until(lambda: (one := worker.heartbeat()) and one.oldest_task and one)

    code = health.main(["w", "--json", "--config", str(folder / "task-server.toml")], {})

    said = json.loads(capsys.readouterr().out)
    assert beat.oldest_task.startswith("proj.work[")
    assert 0 == code
    assert (True, True, 1) == (said["alive"], said["ready"], said["active"])
    assert beat.oldest_task == said["oldest_task"]
    assert said["oldest_seconds"] >= 0
    assert f"1 running ({beat.oldest_task}, for " in worker.verdict().reason


@pytest.mark.parametrize("pool", EITHER)
def test_a_task_that_runs_for_too_long_makes_the_worker_unready_and_dead(
    pool: str, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    Where the operator has said what is too long.
    """
    worker = start(pool, task_unready_seconds=1, task_dead_seconds=4).ready()
    send("work", 1, 300.0)

    unready = until(lambda: (found := worker.verdict()) and not found.ready and found)
    dead = until(lambda: (found := worker.verdict()) and not found.alive and found)

    assert "(task_unready_seconds is 1)" in unready.reason
    assert "(task_dead_seconds is 4)" in dead.reason


def test_a_stopped_child_is_named_with_its_task(
    start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    While others work the worker is ready; with none left it is not, and is so again afterwards.
    """
    worker = start("prefork", timing={"heartbeat": 0.2}).ready()
    send("work", 1, 300.0)
    until(worker.starts)
    busy = int(worker.log.read_text().split()[2])
    (idle,) = set(worker.children()) - {busy}

    with stopped(busy):
        one = until(lambda: "stopped" in (found := worker.verdict()).reason and found)
        with stopped(idle):
            both = until(lambda: not (found := worker.verdict()).ready and found)
    until(lambda: "stopped" not in (found := worker.verdict()).reason and found.ready)

    assert one.ready
    assert f"pool child {busy} with proj.work[" in one.reason
    assert f"(kill -CONT {busy} lets it go on)" in one.reason
    assert both.alive
    assert "pool children " in both.reason


@pytest.mark.parametrize("pool", EITHER)
def test_a_stopped_worker_is_named(pool: str, start: Callable[..., Worker]) -> None:
    """
    Not ready at once, with what lets it go on.
    """
    worker = start(pool).ready()

    with stopped(worker.pid):
        found = until(lambda: not (one := worker.verdict()).ready and one)

    assert found.alive
    assert f"process {worker.pid} is stopped, as by SIGSTOP" in found.reason


@pytest.mark.parametrize("pool", EITHER)
def test_a_second_worker_with_the_same_heartbeat_is_refused(
    pool: str, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    The first one works on, and its heartbeat stays; a third has the place when it is gone.
    """
    first = start(pool).ready()

    second = start(pool, name="w")
    code = second.wait()
    send("work", 1)
    until(lambda: first.ends() == {1: 1})
    verdict = first.verdict()
    first.kill_main()
    third = start(pool).ready()

    assert 78 == code
    assert f"the worker w runs already: process {first.pid} writes" in second.output()
    assert verdict.ready
    assert third.verdict().ready
