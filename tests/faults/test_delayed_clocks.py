"""Delayed tasks where the clock of a worker, or of the server, is not that of the others."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.lab import POOLS, Marks, Redis, send, start, until
from tests.support.lab.clock import Clock

#: Seconds by which a clock is ahead, or behind.
AHEAD, BEHIND = 7200, -4

#: Seconds until a task is due, and by which gevent's timers may be early.
DUE, EARLY = 8.0, 0.05

TASKS = 8


def faked(require: Callable[..., None], folder: Path, seconds: int) -> dict[str, str]:
    """Return the variables of a process whose clock differs by *seconds*."""
    clock = Clock(folder)
    clock.set(seconds)
    try:
        return clock.environ()
    except FileNotFoundError as error:
        require("faketime", f"{error}; install Debian's package libfaketime")
        raise


def run_all(broker: Redis, marks: Marks) -> tuple[float, dict[int, float]]:
    """Send tasks that are due together; return when, and when each ended first."""
    due = time.time() + DUE
    when = time.monotonic() + DUE
    send(broker, range(TASKS), eta=due)
    until(lambda: set(marks.ends()) == set(range(TASKS)) and broker.is_empty(), "all tasks")
    assert {1} == set(marks.ends().values())
    return when, dict(marks.ended())


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_whose_clock_is_ahead_runs_nothing_early(
    pool: str, require: Callable[..., None], broker: Redis, marks: Marks, folder: Path
) -> None:
    """
    The server's clock counts: by the worker's own all would be due at once.
    """
    variables = faked(require, folder, AHEAD)
    with start(
        "atomic", pool, broker, marks, visibility=3600, DELAY_SECONDS="1", **variables
    ) as one:
        one.ready()
        when, ended = run_all(broker, marks)

    assert [] == [number for number, end in ended.items() if end < when - EARLY]


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_whose_clock_is_behind_runs_all_and_nothing_early(
    pool: str, require: Callable[..., None], broker: Redis, marks: Marks, folder: Path
) -> None:
    """
    It holds what is due for the rest, by its own clock, as Celery does.
    """
    variables = faked(require, folder, BEHIND)
    with start(
        "atomic", pool, broker, marks, visibility=3600, DELAY_SECONDS="1", **variables
    ) as one:
        one.ready()
        when, ended = run_all(broker, marks)

    assert [] == [number for number, end in ended.items() if end < when - EARLY]


@pytest.mark.parametrize("seconds", [3600, -6])
def test_a_servers_clock_that_differs_runs_nothing_early(
    seconds: int,
    require: Callable[..., None],
    redis_server: Callable[..., Redis],
    folder: Path,
) -> None:
    """
    Ahead, it hands tasks to workers before they are due, which hold them; behind, it is late.
    """
    variables = faked(require, folder, seconds)
    server = redis_server(prefix=["env", *(f"{key}={value}" for key, value in variables.items())])
    with ExitStack() as stack:
        lanes = []
        for number, pool in enumerate(POOLS):
            database, marks = server.database(number), Marks(folder, f"marks-{pool}")
            worker = start("atomic", pool, database, marks, visibility=3600, DELAY_SECONDS="1")
            lanes.append((database, marks, stack.enter_context(worker)))
        for _, _, worker in lanes:
            worker.ready()
        for database, marks, _ in lanes:
            when, ended = run_all(database, marks)
            assert [] == [number for number, end in ended.items() if end < when - EARLY]
