"""Lanes: each kind of worker with a database, a worker and marks of its own, side by side."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.lab.worker import OLD, POOLS, start
from tests.support.marks import Marks
from tests.support.redis import Broker, Redis
from tests.support.worker import Worker


class Kind(NamedTuple):
    """A transport, a pool, and when a task is acknowledged."""

    transport: str
    pool: str
    acks: str

    def __str__(self) -> str:
        return "-".join(self)


#: Where acks are late, `task-server worker` with either transport. Where they
#: are early, it stands beside the command line of an old task server.
ALL_LANES = [
    Kind(transport, pool, acks)
    for pool in POOLS
    for acks in ("late", "early")
    for transport in ("atomic", "kombu")
]

#: Those that every fault meets: FAULTS_ACKS is `late`, or `late early`.
LANES = [kind for kind in ALL_LANES if kind.acks in os.environ.get("FAULTS_ACKS", "late").split()]


@dataclass
class Lane:
    """
    One kind of worker under a fault.

    Attributes:
        sent: The numbers of the messages that Redis has said to have.
    """

    kind: Kind
    broker: Broker
    marks: Marks
    options: dict[str, Any]
    sent: set[int] = field(default_factory=set)
    worker: Worker | None = None
    restarts: int = 0

    @property
    def bare(self) -> bool:
        """Whether it is the old command line."""
        return self.kind.transport == "kombu" and self.kind.acks == "early"

    def start(self) -> None:
        """Start the worker; after its death start it again, as systemd or Docker would."""
        if self.worker is not None:
            self.worker.close()
            self.restarts += 1
        transport, pool, acks = self.kind
        extra: dict[str, Any] = {}
        if self.bare:
            extra = {"arguments": (*POOLS[pool], *OLD), "visibility": None}
        self.worker = start(
            transport, pool, self.broker, self.marks, acks=acks, **(self.options | extra)
        )

    def running(self) -> Worker:
        """Return the worker, which has been started."""
        assert self.worker is not None
        return self.worker

    def alive(self) -> bool:
        """Whether its main process lives."""
        return self.running().alive()


@contextmanager
def lanes_of(
    server: Redis,
    kinds: Sequence[Kind] = LANES,
    *,
    visibility: float = 5,
    marks: Callable[[Path, str], Marks] = Marks,
    prefix: Callable[[Kind], Sequence[str]] = lambda _: (),
    **options: Any,
) -> Iterator[list[Lane]]:
    """
    Start a worker of each kind on a database of its own; they are killed in the end.

    Args:
        marks: Makes the marks of a lane from its folder and name.

        prefix: Returns the command that a worker is started by.

        options: Of `start`.
    """
    lanes = [
        Lane(
            kind,
            server.database(number),
            marks(server.folder, f"marks-{kind}"),
            {"visibility": visibility, "prefix": prefix(kind), **options},
        )
        for number, kind in enumerate(kinds)
    ]
    try:
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.running().ready()
        yield lanes
    finally:
        for lane in lanes:
            if lane.worker is not None:
                lane.worker.close()
