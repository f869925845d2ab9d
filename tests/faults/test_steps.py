"""SIGKILL between every pair of steps of fetch and acknowledgement."""

from collections.abc import Callable

import pytest
from lab import POOLS, Marks, Redis, Worker, send, until


def steps_of_one_message(transport: str, pool: str, broker: Redis, marks: Marks) -> list[str]:
    """Return the steps that a worker takes from the arrival of a message to its end."""
    trace = broker.folder / "trace"
    with Worker(transport, pool, broker, marks, STEPS_TRACE=str(trace)).ready():
        send(broker, [0])
        until(lambda: marks.runs()[0] and broker.waiting() == 0, "the first message")
        steps = trace.read_text().splitlines()
    broker.client.flushall()
    return steps


def lost_by_kills(
    transport: str, pool: str, broker: Redis, marks: Marks, steps: list[str]
) -> tuple[int, list[str]]:
    """
    Kill one worker at each of *steps*.

    Return how many kills there were and the steps at which the message was
    afterwards neither run nor in Redis.
    """
    killed, lost = 0, []
    for number, step in enumerate(steps, 1):
        with Worker(transport, pool, broker, marks, STEPS_KILL=str(number)).ready() as worker:
            send(broker, [number])
            until(
                lambda worker=worker, number=number: (
                    not worker.alive() or (marks.runs()[number] and broker.waiting() == 0)
                ),
                f"the kill at {step!r}",
            )
            killed += not worker.alive()
        if not marks.runs()[number] and broker.waiting() == 0:
            lost.append(step)
        broker.client.flushall()
    return killed, lost


@pytest.mark.parametrize("pool", POOLS)
def test_no_step_loses_a_message(
    pool: str, broker: Redis, marks: Marks, row: Callable[..., None]
) -> None:
    """
    Wherever the worker is killed, the message was run or is still in Redis.
    """
    steps = steps_of_one_message("atomic", pool, broker, marks)
    killed, lost = lost_by_kills("atomic", pool, broker, marks, steps)
    row("SIGKILL at each step", f"atomic {pool}", killed, len(lost))

    assert [] == lost
    assert killed >= 8


@pytest.mark.parametrize("pool", POOLS)
def test_stock_loses_a_message_between_two_steps(
    pool: str, broker: Redis, marks: Marks, row: Callable[..., None]
) -> None:
    """
    With Kombu's own transport the same kills lose messages: the test can fail.
    """
    steps = steps_of_one_message("stock", pool, broker, marks)
    first = steps.index("after reading the reply")
    killed, lost = lost_by_kills("stock", pool, broker, marks, steps[: first + 4])
    row("SIGKILL at each step", f"stock {pool}", killed, len(lost))

    assert [] != lost
