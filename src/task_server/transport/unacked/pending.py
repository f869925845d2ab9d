"""What broken connections leave for the next one of this process."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from task_server.transport.started.tasks import Told
from task_server.transport.unacked.leases import Lease

#: Acknowledgements, and messages to deliver again, that wait for a connection.
MOST_LATE: Final = 100_000

#: Fetches whose reply is lost, at most.
MOST_FETCHES: Final = 100


@dataclass
class Late:
    """
    What broken connections left for the next one of this process.

    Attributes:
        acks: Delivery tags to acknowledge. Bounded: what falls out is
            delivered again.

        restores: Messages to deliver again: delivery tag, and the last moment
            (by the monotonic clock) at which it was certainly held here.

        fetches: Fetches whose reply is lost, so that nobody knows what they
            have moved: the time (seconds) at which they say that they took it,
            and the one (by the monotonic clock) until which to look for it. A
            server that hung may run a fetch after its connection.

        told: What Redis has heard of the tasks that have begun.

        lease: On all that is held here.

        looks: Since when, and when last, this process has looked for messages
            of dead workers: by the server's clock, as its script says it.

        unreadable: Messages that could not be put into the list of the
            unreadable ones, as far as this process knows.
    """

    acks: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_LATE))
    restores: deque[tuple[str, float]] = field(default_factory=lambda: deque(maxlen=MOST_LATE))
    fetches: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MOST_FETCHES))
    told: Told = field(default_factory=Told)
    lease: Lease = field(default_factory=Lease)
    looks: tuple[bytes, bytes] = (b"", b"")
    unreadable: int = 0
