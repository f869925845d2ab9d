"""A rolling upgrade: workers with leases beside workers of the version that had none."""

import json
import os
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab import POOLS, Broker, Marks, Redis, Worker, send, start, until
from tests.support.lab.versions import BEFORE_LEASES, sources_of
from tests.support.lab.worker import PROJECT

#: Seconds: of ours, of both, and of the tasks that outlive either.
LEASE, VISIBILITY, LONG = 5, 6, 16

#: Messages that each worker takes: two run for long, the others wait for them.
EACH = 8


@pytest.fixture
def old(require, folder: Path) -> dict[str, str]:
    """Return the variables with which the version without leases is started."""
    home = folder / "old"
    home.mkdir()
    try:
        sources = sources_of(BEFORE_LEASES, home)
    except OSError as error:
        require("history", f"the revision without leases cannot be exported: {error}")
    return {"PYTHONPATH": os.pathsep.join([str(sources), str(PROJECT)]), "NUMBER": "old"}


@dataclass
class Pair:
    """
    A worker of each version on one queue; one of them ends.

    The numbers of what the *old* one takes at first begin at 0, of *ours* at EACH.

    Attributes:
        leaves: "old" or "ours".

        how: "kill" or "stop".
    """

    broker: Broker
    marks: Marks
    old: Worker
    ours: Worker
    leaves: str
    how: str

    def fill(self) -> None:
        """Let each take its share."""
        # It holds nothing yet, and so loses nothing.
        self.ours.process.send_signal(signal.SIGSTOP)
        self._send(0)
        until(lambda: self._is_full(0), "the old worker to be full")
        self.ours.process.send_signal(signal.SIGCONT)
        self._send(EACH)

    def _send(self, first: int) -> None:
        send(self.broker, range(first, first + 2), seconds=LONG)
        send(self.broker, range(first + 2, first + EACH), seconds=0.2)

    def _is_full(self, first: int) -> bool:
        return not self.broker.queued() and {first, first + 1} <= set(self.marks.starts())

    def is_full(self) -> bool:
        """Whether both have what they can take, and two long tasks of each run."""
        return self._is_full(EACH)

    def leave(self) -> None:
        """Let the worker end that leaves; a stop goes on while the other works."""
        worker = self.old if self.leaves == "old" else self.ours
        if self.how == "kill":
            worker.kill()
        else:
            worker.process.terminate()

    def runs_of_those_that_live(self) -> dict[int, int]:
        """Return how often each task has started whose first run was not killed."""
        started = dict(self.marks.starts())
        if self.how == "kill":
            first = 0 if self.leaves == "old" else EACH
            for number in (first, first + 1):
                # Its first run was cut short.
                assert started.pop(number) == 2
        return started


def leases(broker: Broker) -> list[bool]:
    """Return of each unacked message whether it has a lease."""
    entries: Any = broker.client.hvals("unacked")
    return sorted("lease" in json.loads(entry)[0]["holder"] for entry in entries)


@pytest.mark.parametrize("pool", POOLS)
def test_workers_of_both_versions_on_one_queue(
    pool: str, broker: Redis, old: dict[str, str]
) -> None:
    """
    What each holds for longer than lease and visibility timeout runs once while it lives.

    Either of them is killed or stopped: nothing is lost, and what was not
    begun, or runs on in the other, runs once.
    """
    ends = [(leaves, how) for leaves in ("old", "ours") for how in ("kill", "stop")]
    more = {"old": old, "ours": {"TASK_SERVER_LEASE_SECONDS": str(LEASE)}}
    with ExitStack() as stack:
        pairs = []
        for number, (leaves, how) in enumerate(ends):
            database = broker.database(number)
            marks = Marks(broker.folder, f"marks-{leaves}-{how}")
            workers = {
                whose: stack.enter_context(
                    start(
                        *("atomic", pool, database, marks),
                        **{"visibility": VISIBILITY, "concurrency": 2, **environ},
                    )
                )
                for whose, environ in more.items()
            }
            pairs.append(Pair(database, marks, **workers, leaves=leaves, how=how))
        for pair in pairs:
            pair.old.ready()
            pair.ours.ready()
        for pair in pairs:
            pair.fill()
        until(lambda: all(pair.is_full() for pair in pairs), "full workers")
        assert [[False] * EACH + [True] * EACH] * 4 == [leases(pair.broker) for pair in pairs]
        for pair in pairs:
            pair.leave()
        until(lambda: all(pair.broker.is_empty() for pair in pairs), "all tasks", 120)
        codes = [
            (pair.old if pair.leaves == "old" else pair.ours).process.wait(60)
            for pair in pairs
            if pair.how == "stop"
        ]

    assert [0, 0] == codes
    for pair in pairs:
        expected = dict.fromkeys(range(2 * EACH), 1)
        assert expected == pair.marks.ends(), f"{pair.leaves} {pair.how}"
        assert expected.items() >= pair.runs_of_those_that_live().items(), (
            f"{pair.leaves} {pair.how}"
        )
