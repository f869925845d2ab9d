"""The clock of the workers' machine is set while they run."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab import Lane, Redis, lanes_of, send, until
from tests.support.lab.cell import outcome, ride
from tests.support.lab.clock import Clock
from tests.support.lab.load import Load
from tests.support.lab.table import Table

#: Beyond the visibility time-out; seconds.
JUMP = 7200

#: Messages to two workers; the clock of one is ahead.
TASKS = 12


def goes_by(jump: int, lane: Lane) -> bool:
    """Whether the worker of *lane* writes times that differ by *jump*."""
    client: Any = lane.broker.client
    if lane.kind.transport == "atomic":
        # It renews by the clock of Redis; this is for people.
        entries = [json.loads(entry)[0] for entry in client.hvals("unacked")]
        times = [entry["holder"]["taken"] for entry in entries]
    else:
        times = [when for _, when in client.zrange("unacked_index", 0, -1, withscores=True)]
    return any(abs(when - time.time() - jump) < JUMP / 2 for when in times)


@pytest.mark.parametrize("jump", [JUMP, -JUMP])
def test_the_clock_jumps(jump: int, require, broker: Redis, folder: Path, table: Table) -> None:
    """
    The clock jumps by two hours while tasks run, and then back.

    The visibility time-out is one hour.
    """
    clock = Clock(folder)
    try:
        variables = clock.environ()
    except FileNotFoundError as error:
        require("faketime", f"{error}; install Debian's package libfaketime")

    def happen(lanes: Sequence[Lane], load: Load) -> None:
        late = [lane for lane in lanes if lane.kind.acks == "late"]
        for away in (jump, 0):
            load.send(2, seconds=1.5)
            clock.set(away)
            until(lambda away=away: all(goes_by(away, lane) for lane in late), "the new clock")

    with lanes_of(broker, visibility=3600, **variables) as lanes:
        ride(f"clock {jump // 3600:+d} h and back", lanes, happen, table, Load(lanes))


def test_one_of_two_clocks_is_ahead(require, broker: Redis, folder: Path, table: Table) -> None:
    """
    Each task runs once if a worker's clock is ahead of another's by more than the time-out.

    With Kombu's transport it takes the messages of the other for abandoned; the extra
    runs are in the table.
    """
    clock = Clock(folder)
    clock.set(JUMP)
    try:
        variables = clock.environ()
    except FileNotFoundError as error:
        require("faketime", f"{error}; install Debian's package libfaketime")
    with (
        lanes_of(broker, visibility=3600) as lanes,
        lanes_of(broker, visibility=3600, NUMBER="2", **variables),
    ):
        for lane in lanes:
            lane.sent.update(range(TASKS))
            send(lane.broker, lane.sent, seconds=3)
        ours = [lane for lane in lanes if lane.kind.transport == "atomic"]
        until(lambda: all(lane.broker.is_empty() for lane in ours), "all tasks")
        for lane in lanes:
            table.add("one of two clocks +2 h", lane.kind, outcome(lane))

    for lane in ours:
        assert dict.fromkeys(range(TASKS), 1) == lane.marks.ends()
