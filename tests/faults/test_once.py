"""Each task once: an ETA beyond the visibility time-out, and workers of both transports."""

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from lab import POOLS, Marks, Redis, Worker, send, until

TASKS = 20


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("transport", ["atomic", "stock"])
def test_an_eta_beyond_the_visibility_timeout(
    transport: str, pool: str, broker: Redis, marks: Marks, row: Callable[..., None]
) -> None:
    """
    Tasks that wait three times the visibility time-out run once; with Kombu's own several times.
    """
    with (
        Worker(transport, pool, broker, marks, visibility=2, NUMBER="1").ready(),
        Worker(transport, pool, broker, marks, visibility=2, NUMBER="2").ready(),
    ):
        send(broker, range(TASKS), eta=time.time() + 7)
        until(lambda: len(marks.runs()) == TASKS and broker.waiting() == 0, "all tasks")
    runs = marks.runs()
    extra = sum(runs.values()) - TASKS
    row("ETA of 7 s, time-out 2 s", f"{transport} {pool}", TASKS, TASKS - len(runs), extra)

    assert TASKS == len(runs)
    assert extra == 0 or transport == "stock"


def test_workers_of_both_transports_on_one_queue(broker: Redis, marks: Marks) -> None:
    """
    Four workers, two of each transport, run messages of four priorities, each once, and end well.
    """
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(transport, pool, broker, marks, visibility=3600))
            for transport in ("atomic", "stock")
            for pool in POOLS
        ]
        for worker in workers:
            worker.ready()
        for number in range(0, 2000, 20):
            for place, priority in enumerate((0, 3, 6, 9)):
                first = number + 5 * place
                send(broker, range(first, first + 5), priority=priority)
        until(lambda: len(marks.runs()) == 2000 and broker.waiting() == 0, "all tasks")
        codes = [worker.stop() for worker in workers]

    assert {1} == set(marks.runs().values())
    assert 2000 == len(marks.runs())
    assert [0, 0, 0, 0] == codes
