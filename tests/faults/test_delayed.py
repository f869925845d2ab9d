"""Delayed tasks under kills: of workers while they delay and return them, and of Redis."""

import random
import time
from threading import Event

import pytest

from tests.support.lab import LANES, Broker, Redis, lanes_of, send, until
from tests.support.lab.cell import outcome
from tests.support.lab.table import Table

TASKS = 400

#: Seconds between the first and the last that is due, and until the first.
SPREAD, FIRST = 12.0, 8.0

#: Seconds by which gevent's timers, and so Celery's under it, may be early.
EARLY = 0.05

#: What is due in more seconds waits in Redis.
DELAY = "1"

KINDS = [kind for kind in LANES if kind.transport == "atomic"]


def send_delayed(broker: Broker, numbers: range) -> dict[int, float]:
    """Send tasks of four priorities; return when each is due, by the clock of the marks."""
    due = {}
    for number in numbers:
        delay = FIRST + SPREAD * (number % TASKS) / TASKS
        due[number] = time.monotonic() + delay
        send(broker, [number], eta=time.time() + delay, priority=number % 4 * 3)
    return due


@pytest.mark.parametrize("victim", ["worker", "redis"])
def test_kills_while_tasks_are_delayed(
    victim: str, kills: int, broker: Redis, table: Table
) -> None:
    """
    Each task runs, and none before it is due; each once, but for those that a killed worker had.
    """
    chance, pause = random.Random(12), Event()
    # A lease that outlasts the kills of Redis: nothing is taken for a dead worker's.
    visibility = 3 if victim == "worker" else 60
    with lanes_of(broker, KINDS, visibility=visibility, DELAY_SECONDS=DELAY) as lanes:
        due = [send_delayed(lane.broker, range(TASKS)) for lane in lanes]
        for lane in lanes:
            lane.sent.update(range(TASKS))
        until(lambda: all(lane.broker.delayed() > TASKS / 2 for lane in lanes), "the delay")
        for _ in range(3 * kills):
            pause.wait(chance.uniform(0.1, 1.5))
            if victim == "redis":
                broker.kill()
                broker.start()
                continue
            for lane in lanes:
                lane.start()
        until(lambda: all(lane.broker.is_empty() for lane in lanes), "all tasks", 180)
        for lane in lanes:
            table.add(f"delayed, {victim} killed x {3 * kills}", lane.kind, outcome(lane))

    for lane, times in zip(lanes, due, strict=True):
        first_ends = dict(reversed(lane.marks.ended()))
        assert set(times) == set(first_ends)
        assert [] == [one for one, end in first_ends.items() if end < times[one] - EARLY]
        if victim == "redis":
            assert {1} == set(lane.marks.ends().values())
