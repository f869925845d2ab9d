"""Workers of the last release beside ours: delayed tasks, results and dead letters of both."""

import json
import time
from typing import Any

import pytest

from tests.faults.test_lease_upgrade import LEASE, VISIBILITY, old
from tests.support.lab import POOLS, Broker, Marks, Redis, Worker, send, start, until
from tests.support.messages import dead_letters

__all__ = ["old"]

#: Seconds until the delayed tasks are due: beyond what each version takes to fetch them.
DELAY = 20

#: Numbers of the tasks: at once, delayed, and the one that no worker registers.
NOW, LATER, ABSENT = range(40), range(100, 120), 7


def states(broker: Broker) -> list[str]:
    """Return the state of each result."""
    client: Any = broker.client
    return [json.loads(client.get(key))["status"] for key in client.scan_iter("celery-task-meta-*")]


@pytest.mark.parametrize("killed", ["old", "ours"])
@pytest.mark.parametrize("pool", POOLS)
def test_one_queue_of_both_versions(
    pool: str, killed: str, broker: Redis, old: dict[str, str]
) -> None:
    """
    Either is killed while tasks wait for their ETA in it, or in Redis: each runs once, when due.

    Both store results that the other's clients read; what the old version knows nothing of,
    a dead letter, stays as it is.
    """
    marks = Marks(broker.folder)
    more = {"RESULTS": "always"}
    ours = more | {"TASK_SERVER_LEASE_SECONDS": str(LEASE)}

    def started(environ: dict[str, str]) -> Worker:
        return start(
            *("atomic", pool, broker, marks),
            **{"visibility": VISIBILITY, "concurrency": 2, **environ},
        )

    with started(ours | {"NUMBER": "ours"}) as new:
        new.ready()
        send(broker, [ABSENT], task="marks.absent")
        until(lambda: dead_letters(broker) == {ABSENT}, "the dead letter")
        with started(more | old) as last:
            last.ready()
            due = time.time() + DELAY
            due_here = time.monotonic() + DELAY
            send(broker, LATER, eta=due)
            until(lambda: not broker.queued(), "the delayed tasks to be fetched")
            (last if killed == "old" else new).kill()
            # The upgrade goes on: another of ours takes its place.
            with started(ours | {"NUMBER": "next"}) as following:
                following.ready()
                send(broker, NOW, seconds=0.1)
                until(broker.is_empty, "all tasks", 180)

    ended = marks.ended()
    assert dict.fromkeys([*NOW, *LATER], 1) == marks.ends()
    early = {number for number, at in ended if number in LATER and at < due_here - 1}
    assert set() == early
    assert ["SUCCESS"] * (len(NOW) + len(LATER)) == states(broker)
    assert {ABSENT} == dead_letters(broker)
