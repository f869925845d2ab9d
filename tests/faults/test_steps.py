"""SIGKILL between every pair of steps of fetch and acknowledgement."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from lab import ALL_LANES, POOLS, Marks, Redis, Worker, send, until
from lab.lanes import Kind
from lab.redis_server import Broker
from lab.table import Cell, Table


def steps_of_one_message(kind: Kind, broker: Broker, marks: Marks) -> list[str]:
    """Return the steps that a worker takes from the arrival of a message to its end."""
    trace = broker.folder / f"trace-{kind}"
    with Worker(kind.transport, kind.pool, broker, marks, STEPS_TRACE=str(trace)).ready():
        send(broker, [0])
        until(lambda: marks.runs()[0] and broker.is_empty(), "the first message")
        steps = trace.read_text().splitlines()
    broker.client.flushdb()
    return steps


def lost_by_kills(
    kind: Kind, broker: Broker, marks: Marks, steps: list[str]
) -> tuple[int, list[str]]:
    """
    Kill one worker at each of *steps*.

    Return how many kills there were and the steps at which the message was
    afterwards neither run nor in Redis.
    """
    killed, lost = 0, []
    for number, step in enumerate(steps, 1):
        with Worker(
            kind.transport, kind.pool, broker, marks, STEPS_KILL=str(number)
        ).ready() as worker:
            send(broker, [number])
            until(
                lambda worker=worker, number=number: (
                    not worker.alive() or (marks.runs()[number] and broker.is_empty())
                ),
                f"the kill at {step!r}",
            )
            killed += not worker.alive()
        if not marks.runs()[number] and broker.waiting() == 0:
            lost.append(step)
        broker.client.flushdb()
    return killed, lost


def killed_and_lost(kind: Kind, server: Redis, number: int) -> tuple[int, list[str]]:
    """Kill workers of *kind* at the steps that matter, on the database *number*."""
    broker = server.databases[number]
    marks = Marks(broker.folder, f"marks-{kind}")
    steps = steps_of_one_message(kind, broker, marks)
    if kind.transport == "stock":
        # Where it loses; what comes after is the way of ours.
        steps = steps[: steps.index("after reading the reply") + 4]
    return lost_by_kills(kind, broker, marks, steps)


@pytest.mark.parametrize("pool", POOLS)
def test_no_step_loses_a_message(pool: str, broker: Redis, table: Table) -> None:
    """
    Wherever our worker is killed, the message was run or is still in Redis; Kombu's own loses it.
    """
    kinds = [kind for kind in ALL_LANES if kind.pool == pool and kind.acks == "late"]
    broker.database(len(kinds) - 1)
    with ThreadPoolExecutor() as threads:
        found = dict(
            zip(
                kinds,
                threads.map(killed_and_lost, kinds, [broker] * 2, range(2)),
                strict=True,
            )
        )
    for kind, (killed, lost) in found.items():
        table.add("SIGKILL at each step", kind, Cell(killed, len(lost)))
    ours, stock = (found[kind] for kind in kinds)

    assert [] == ours[1]
    assert ours[0] >= 8
    assert [] != stock[1]
