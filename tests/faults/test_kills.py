"""Kill -9 of the worker's process group under load, again and again."""

import random
from collections.abc import Callable
from threading import Event

import pytest
from lab import POOLS, Marks, Redis, Worker, drain, send, until

#: A worker is left alone for up to so many seconds after it is ready.
LONGEST_LIFE = 0.5


def kill_again_and_again(
    transport: str, pool: str, kills: int, broker: Redis, marks: Marks
) -> tuple[int, int, int]:
    """Return the numbers of messages sent, lost, and run more than once."""
    chance, pause = random.Random(6), Event()
    sent = send(broker, range(3000))
    for _ in range(kills):
        with Worker(transport, pool, broker, marks).ready():
            if broker.waiting() < 2000:
                sent += send(broker, range(sent, sent + 3000))
            pause.wait(chance.uniform(0.05, LONGEST_LIFE))
    drain(broker, marks, 120)
    runs = marks.runs()
    return sent, sent - len(runs), sum(runs.values()) - len(runs)


@pytest.mark.timeout(3600 * 3)
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("transport", ["atomic", "stock"])
def test_kill_9_under_load(  # noqa: PLR0917 - fixtures
    transport: str, pool: str, kills: int, broker: Redis, marks: Marks, row: Callable[..., None]
) -> None:
    """
    No message is lost, however often the worker is killed; Kombu's own loses some.

    What stock loses is only shown: in a few kills it may be none.
    """
    sent, lost, extra = kill_again_and_again(transport, pool, kills, broker, marks)
    row(f"kill -9 x {kills}", f"{transport} {pool}", sent, lost, extra)

    assert lost == 0 or transport == "stock"


@pytest.mark.parametrize("pool", POOLS)
def test_an_idle_worker_restores_what_a_killed_one_held(
    pool: str, broker: Redis, marks: Marks
) -> None:
    """
    An idle worker runs what a dead one held, though no new message wakes it.
    """
    with Worker("atomic", pool, broker, marks).ready():
        send(broker, [1], seconds=60)
        until(lambda: marks.runs()[1] == 1, "the first run")
    with Worker("atomic", pool, broker, marks).ready():
        until(lambda: marks.runs()[1] == 2, "the second run", 20)

    assert {1: 2} == dict(marks.runs())
