"""SIGKILL between every pair of steps of fetch and acknowledgement."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from tests.support.lab import ALL_LANES, POOLS, Marks, Redis, Worker, send, start, until
from tests.support.lab.lanes import Kind
from tests.support.lab.table import Cell, Table
from tests.support.redis import Broker

#: No renewal and no scan for dead workers comes between the steps.
QUIET: dict[str, Any] = {"visibility": 3600, "RESTORE": "3600"}


@contextmanager
def counting(kind: Kind, broker: Broker, marks: Marks, **steps: str) -> Iterator[Worker]:
    """Start a worker that counts its steps from now on; one that is killed may never be ready."""
    ready = broker.folder / f"counting-{uuid4().hex}"
    with start(
        *(kind.transport, kind.pool, broker, marks), STEPS_READY=str(ready), **steps, **QUIET
    ) as worker:
        until(ready.exists, f"{worker.name} to count")
        yield worker


def steps_of_one_message(kind: Kind, broker: Broker, marks: Marks) -> list[str]:
    """Return the steps that a worker takes from the arrival of a message to its end."""
    trace = broker.folder / f"trace-{kind}"
    with counting(kind, broker, marks, STEPS_TRACE=str(trace)):
        send(broker, [0])
        until(lambda: marks.ends()[0] and broker.is_empty(), "the first message")
        steps = trace.read_text().splitlines()
    broker.client.flushdb()
    return steps


def lost_by_kills(
    kind: Kind, broker: Broker, steps: Sequence[tuple[int, str]]
) -> tuple[int, list[str]]:
    """
    Kill one worker at each of *steps*.

    Return how many kills there were and the steps at which the message was
    afterwards neither run nor in Redis.
    """
    marks = Marks(broker.folder, f"marks-{kind}-{broker.number}")
    killed, lost = 0, []
    for number, step in steps:
        with counting(kind, broker, marks, STEPS_KILL=str(number)) as worker:
            send(broker, [number])
            until(
                lambda worker=worker, number=number: (
                    not worker.alive() or (marks.ends()[number] and broker.is_empty())
                ),
                f"the kill at {step!r}",
            )
            killed += not worker.alive()
        if not marks.ends()[number] and broker.waiting() == 0:
            lost.append(step)
        broker.client.flushdb()
    return killed, lost


def killed_and_lost(kind: Kind, brokers: Sequence[Broker]) -> tuple[int, list[str]]:
    """Kill workers of *kind* at the steps that matter, some on each of *brokers*."""
    steps = steps_of_one_message(kind, brokers[0], Marks(brokers[0].folder, f"marks-{kind}"))
    if kind.transport == "kombu":
        # Where it loses; what comes after is the way of ours.
        steps = steps[: steps.index("after reading the reply") + 4]
    numbered = list(enumerate(steps, 1))
    shares = [numbered[first :: len(brokers)] for first in range(len(brokers))]
    with ThreadPoolExecutor() as threads:
        found = list(threads.map(lost_by_kills, [kind] * len(brokers), brokers, shares))
    return sum(killed for killed, _ in found), [step for _, lost in found for step in lost]


@pytest.mark.parametrize("pool", POOLS)
def test_no_step_loses_a_message(pool: str, broker: Redis, table: Table) -> None:
    """
    Wherever our worker is killed, the message was run or is still in Redis.

    Where Kombu's own loses it is in the table: whether it does so each time, is its affair.
    """
    kinds = [kind for kind in ALL_LANES if kind.pool == pool and kind.acks == "late"]
    broker.database(2 * len(kinds) - 1)
    pairs = [broker.databases[first : first + 2] for first in range(0, 2 * len(kinds), 2)]
    with ThreadPoolExecutor() as threads:
        found = dict(zip(kinds, threads.map(killed_and_lost, kinds, pairs), strict=True))
    for kind, (killed, lost) in found.items():
        table.add("SIGKILL at each step", kind, Cell(killed, len(lost)))
    (killed, lost), _ = (found[kind] for kind in kinds)

    assert [] == lost
    assert killed >= 8
