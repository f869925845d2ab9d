"""Kill -9 under load, again and again: of the group, of the main process, of a child."""

import os
import random
import signal
import time
from bisect import bisect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from threading import Event

import pytest

from tests.support.lab import (
    ALL_LANES,
    LANES,
    POOLS,
    Lane,
    Marks,
    Redis,
    drain,
    lanes_of,
    message,
    send,
    start,
    until,
)
from tests.support.lab.cell import outcome
from tests.support.lab.table import Cell, Table
from tests.support.lab.worker import CONCURRENCY
from tests.support.wait import holds_within

#: A worker is left alone for up to so many seconds after it is ready.
LONGEST_LIFE = 0.5

#: Transports and pools to kill, such as atomic-gevent-late; all unless FAULTS_LANES names some.
CHOSEN = os.environ.get("FAULTS_LANES", "").split()

#: Messages that are sent at once when fewer than half of that are queued.
BATCH = 1000


def group(lane: Lane, _: random.Random) -> bool:
    lane.running().kill()
    return True


def main(lane: Lane, _: random.Random) -> bool:
    lane.running().kill_main()
    return True


def child(lane: Lane, chance: random.Random) -> bool:
    # Of a pool that was killed a moment ago there may be none for a while.
    if holds_within(lane.running().children, 10):
        with suppress(ProcessLookupError, IndexError):
            os.kill(chance.choice(lane.running().children()), signal.SIGKILL)
    return False


#: What is killed; each returns whether a new worker must be started.
VICTIMS: dict[str, Callable[[Lane, random.Random], bool]] = {
    "the group": group,
    "main alone": main,
    "a child": child,
}


def kill_again_and_again(lane: Lane, victim: str, kills: int) -> Cell:
    """Kill *victim* of the worker of *lane*, each time under load; then let all be run."""
    chance, pause, number = random.Random(6), Event(), 0
    times = []
    for _ in range(kills):
        if lane.broker.queued() < BATCH // 2:
            numbers = range(number, number + BATCH)
            number += send(lane.broker, numbers)
            lane.sent.update(numbers)
        pause.wait(chance.uniform(0.05, LONGEST_LIFE))
        again = VICTIMS[victim](lane, chance)
        times.append(time.monotonic())
        if again:
            lane.start()
            lane.running().ready()
    if lane.kind.transport == "atomic":
        until(lane.broker.is_empty, f"all to be run by {lane.kind}", 180)
        return outcome(lane, slowest_to_resume(lane, times))
    slowest = slowest_to_resume(lane, times)
    cell = outcome(lane, slowest)
    if cell.left:
        # A stock worker restores only from time to time, or never.
        lane.running().kill()
        drain(lane.broker, lane.marks, 180)
        cell = replace(outcome(lane, slowest), alive=cell.alive)
    return cell


def slowest_to_resume(lane: Lane, times: list[float]) -> str:
    """Return the longest time from one of *times* to the next end of a task."""
    ends = sorted(when for _, when in lane.marks.ended())
    waits = [ends[place] - when for when in times if (place := bisect(ends, when)) < len(ends)]
    return f"{max(waits):.1f} s" if waits else ""


@pytest.mark.timeout(3600 * 3)
@pytest.mark.parametrize("victim", VICTIMS)
def test_kill_9_under_load(victim: str, kills: int, broker: Redis, table: Table) -> None:
    """
    No message is lost, however often a worker is killed; Kombu's own loses some.
    """
    lanes_here = ALL_LANES if victim == "the group" else LANES
    kinds = [kind for kind in lanes_here if victim != "a child" or kind.pool == "prefork"]
    kinds = [kind for kind in kinds if not CHOSEN or str(kind) in CHOSEN]
    name = f"kill -9 of {victim} x {kills}"
    with lanes_of(broker, kinds, visibility=2) as lanes, ThreadPoolExecutor() as threads:
        cells = threads.map(lambda lane: kill_again_and_again(lane, victim, kills), lanes)
        for lane, cell in zip(lanes, cells, strict=True):
            table.add(name, lane.kind, cell)

    for kind in kinds:
        if (kind.transport, kind.acks) == ("atomic", "late"):
            assert 0 == table.cell(name, kind).lost


@pytest.mark.parametrize("pool", POOLS)
def test_an_idle_worker_restores_the_messages_of_a_killed_one(
    pool: str, broker: Redis, marks: Marks
) -> None:
    """
    An idle worker runs what a dead one had, though no new message wakes it.
    """
    with start("atomic", pool, broker, marks).ready():
        send(broker, [1], seconds=60)
        until(lambda: marks.starts()[1] == 1, "the first run")
    with start("atomic", pool, broker, marks).ready():
        until(lambda: marks.starts()[1] == 2, "the second run")


def test_acknowledgements_do_not_wait_for_a_free_place(broker: Redis, marks: Marks) -> None:
    """
    A full gevent worker acknowledges what has ended, though its loop waits for a free place.

    They waited for the next fetch, which comes when all that one fetch took
    has a place: a kill ran ended tasks again, and so did another worker after
    the visibility time-out.
    """
    places = CONCURRENCY["gevent"]
    with start("atomic", "gevent", broker, marks, visibility=3600).ready():
        # In one fetch: some that end, as many as there are places, one that waits.
        texts = [message(number, 0.0 if number < 5 else 600) for number in range(5 + places + 1)]
        broker.client.lpush("celery", *texts)
        until(lambda: len(marks.starts()) == 5 + places, "a full worker")
        until(lambda: broker.waiting() == places + 1, "acknowledgements")
