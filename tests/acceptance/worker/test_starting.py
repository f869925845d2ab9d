"""What a task starts ends as it would in a worker of stock Celery."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.wait import until
from tests.support.worker import Worker

pytestmark = pytest.mark.slow

#: A way is tried so often: a Pool whose processes have a handler of Python's may wait
#: forever for one that was terminated at the wrong moment, with stock Celery, too.
TRIES = 3

RIGHT = {"called SIGTERM": -15, "called SIGHUP": -1}

#: billiard's handler in a child of the pool, which is handed on, raises SystemExit. What
#: is not forked wants the key of the process, which billiard does not let be pickled.
PREFORK = RIGHT | {
    "terminated fork": [False, 15],
    "terminated billiard": [False, 15],
    "forked SIGTERM": 77,
    "forked SIGQUIT": 77,
    "pooled fork": [1, 2, 3],
    "pooled billiard": [1, 2, 3],
    "executed fork": [1, 2, 3],
    **{
        f"{what} {method}": "TypeError"
        for what in ("terminated", "pooled", "executed")
        for method in ("spawn", "forkserver")
    },
}

#: Pools and executors of processes block the loop under gevent, with stock Celery, too.
#: Whether a process that was spawned is alive cannot be known there: gevent takes the
#: status of all children, and multiprocessing takes one without a status for a living one.
GEVENT = RIGHT | {
    **{f"terminated {method}": [False, -15] for method in ("fork", "forkserver", "billiard")},
    "forked SIGTERM": -15,
    "forked SIGQUIT": -3,
}


def outcomes(log: Path, wanted: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Run all ways of *wanted*; return what their tasks have said."""

    def said() -> dict[str, Any]:
        lines = [line.partition(" ") for line in log.read_text().splitlines()]
        return dict(json.loads(rest) for word, _, rest in lines if word == "outcome")

    def ended() -> bool:
        lines = log.read_text().splitlines()
        return sum(line.startswith(("outcome ", "given up ")) for line in lines) >= sent

    sent = 0
    for _ in range(TRIES):
        for way in wanted.keys() - said().keys():
            send("begin", way)
            sent += 1
        until(ended, seconds=100)
    return said()


@pytest.mark.parametrize(("pool", "right"), [("prefork", PREFORK), ("gevent", GEVENT)])
def test_what_a_task_starts_ends_when_it_is_terminated(
    *,
    pool: str,
    right: dict[str, Any],
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    With multiprocessing and all its methods, billiard, an executor, fork and subprocess.
    """
    worker = start(pool, app="starting", concurrency=1)
    worker.hear("READY=1")

    assert right == outcomes(worker.log, right, send), worker.output()


def test_that_is_what_stock_celery_does(
    stock: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    The outcomes that the test above demands of prefork are those of stock Celery.
    """
    worker = stock("starting", "--concurrency=1", "--loglevel=info")

    assert PREFORK == outcomes(worker.log, PREFORK, send)
