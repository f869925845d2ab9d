"""The clock of the workers' machine is set while they run."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from lab import Lane, Redis, lanes_of, until
from lab.cell import ride
from lab.clock import Clock
from lab.load import Load
from lab.table import Table

#: Beyond the visibility time-out.
JUMP = 7200


def goes_by(jump: int, lane: Lane) -> bool:
    """Whether the worker of *lane* writes times that differ by *jump*."""
    times: Any = lane.broker.client.zrange("unacked_index", 0, -1, withscores=True)
    return any(abs(when - time.time() - jump) < JUMP / 2 for _, when in times)


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
        require("faketime", f"{error}; install Debian's package faketime")

    def happen(lanes: Sequence[Lane], load: Load) -> None:
        late = [lane for lane in lanes if lane.kind.acks == "late"]
        for away in (jump, 0):
            load.send(2, seconds=3)
            clock.set(away)
            until(lambda away=away: all(goes_by(away, lane) for lane in late), "the new clock")

    with lanes_of(broker, visibility=3600, **variables) as lanes:
        ride(f"clock {jump // 3600:+d} h and back", lanes, happen, table, Load(lanes))
