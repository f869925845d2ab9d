"""Each task once: an ETA beyond the visibility time-out, and workers of both transports."""

import time
from collections import Counter
from contextlib import ExitStack

from tests.support.lab import ALL_LANES, POOLS, Marks, Redis, lanes_of, send, start, until
from tests.support.lab.cell import outcome
from tests.support.lab.table import Table
from tests.support.wait import holds_within

TASKS = 20

#: Messages to workers of both transports.
MIXED = 3000

#: Seconds.
ETA, VISIBILITY = 7, 2


def test_an_eta_beyond_the_visibility_timeout(broker: Redis, table: Table) -> None:
    """
    Tasks that wait three times the visibility time-out run once; with Kombu's own several times.

    Two workers on each queue; one scans and finds the messages of the other.
    """
    kinds = [kind for kind in ALL_LANES if kind.acks == "late"]
    with (
        lanes_of(broker, kinds, visibility=VISIBILITY) as lanes,
        lanes_of(broker, kinds, visibility=VISIBILITY, NUMBER="2") as more,
    ):
        for lane in lanes:
            send(lane.broker, range(TASKS), eta=time.time() + ETA)
            lane.sent.update(range(TASKS))
        ours = [lane for lane in lanes if lane.kind.transport == "atomic"]
        until(lambda: all(lane.broker.is_empty() for lane in ours), "all tasks")
        holds_within(lambda: all(lane.broker.is_empty() for lane in lanes), 5)
        assert all(lane.alive() for lane in more)
        for lane in lanes:
            table.add(f"ETA {ETA} s, time-out {VISIBILITY} s", lane.kind, outcome(lane))

    for lane in ours:
        assert dict.fromkeys(range(TASKS), 1) == lane.marks.ends()


def test_workers_of_both_transports_on_one_queue(broker: Redis) -> None:
    """
    Four workers, two of each transport, run messages of four priorities, each once, and end well.
    """
    with ExitStack() as stack:
        shares = []
        workers = []
        for transport in ("atomic", "kombu"):
            for pool in POOLS:
                shares.append(Marks(broker.folder, f"marks-{transport}-{pool}"))
                worker = start(transport, pool, broker, shares[-1], visibility=3600)
                workers.append(stack.enter_context(worker))
        for worker in workers:
            worker.ready()
        for first in range(0, MIXED, 20):
            for place, priority in enumerate((0, 3, 6, 9)):
                numbers = range(first + 5 * place, first + 5 * place + 5)
                send(broker, numbers, priority=priority)
        until(
            lambda: sum(len(share.ended()) for share in shares) >= MIXED and broker.is_empty(),
            "all tasks",
        )
        codes = [worker.stop() for worker in workers]

    assert dict.fromkeys(range(MIXED), 1) == sum((share.ends() for share in shares), Counter())
    assert all(share.ends() for share in shares)
    assert [0, 0, 0, 0] == codes
