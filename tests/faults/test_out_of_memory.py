"""The kernel kills a worker, or a child of it, for want of memory."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.support.lab import LANES, Lane, Redis, lanes_of, until
from tests.support.lab.cell import ride
from tests.support.lab.lanes import Kind
from tests.support.lab.load import Load
from tests.support.lab.memory_group import MemoryGroup
from tests.support.lab.table import Table
from tests.support.wait import holds_within

#: Bytes of a worker's group, and MiB that one task takes.
LIMIT, MEAL = 256 << 20, 600


@pytest.fixture
def groups(require) -> Iterator[dict[Kind, MemoryGroup]]:
    """Return a group with little memory for each lane."""
    with ExitStack() as stack:
        made = {}
        try:
            for kind in LANES:
                made[kind] = MemoryGroup(LIMIT)
                # The last process of a killed group may take a moment to go.
                stack.callback(until, lambda group=made[kind]: _removed(group), "empty groups")
        except OSError as error:
            require("cgroup", f"a control group with a limit of memory cannot be made: {error}")
        yield made


def _removed(group: MemoryGroup) -> bool:
    try:
        group.remove()
    except OSError:
        return False
    return True


def test_the_kernel_kills_for_want_of_memory(
    groups: dict[Kind, MemoryGroup], broker: Redis, table: Table
) -> None:
    """
    A task takes more memory than there is: a prefork worker goes on, a gevent worker is new.

    At its second run the task takes little. A killed main process is started
    again, as systemd and Docker do.
    """

    def happen(lanes: Sequence[Lane], load: Load) -> float:
        load.send(1, "marks.eat", MEAL)
        until(lambda: all(group.kills() for group in groups.values()), "a kill in each group")
        since = time.monotonic()
        # Of the gevent pool it was the only process.
        gevent = [lane for lane in lanes if lane.kind.pool == "gevent"]
        assert holds_within(lambda: not any(lane.alive() for lane in gevent), 120)
        for lane in gevent:
            lane.start()
        return since

    with lanes_of(broker, prefix=lambda kind: groups[kind].prefix) as lanes:
        ride("out of memory", lanes, happen, table, Load(lanes))
