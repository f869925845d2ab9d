"""What broken connections leave for the next one of this process."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from task_server.transport.started.reported import ReportedTasks
from task_server.transport.unacked.leases import Lease

#: Most acknowledgements, and messages to redeliver, that wait for a connection.
MAX_PENDING: Final = 100_000

#: Most fetches whose reply is lost.
MAX_FETCHES: Final = 100


@dataclass
class Pending:
    """
    What broken connections left for the next one of this process.

    Attributes:
        acks: Delivery tags to acknowledge. Bounded: a message whose tag is dropped is
            redelivered.

        restores: Messages to redeliver: delivery tag, and the last moment
            (by the monotonic clock) at which this process certainly owned it.

        orphaned_fetches: Fetches whose reply is lost, so that it is unknown what
            they have moved: the time (seconds) that they wrote into entries, and
            the one (by the monotonic clock) until which to search for it. A
            server that hung may run a fetch after its connection was lost.

        orphaned_owners: The same of children of this process: what they wrote into entries,
            see `owner_marker`, and until when to search for it.

        reported: The tasks whose start was reported to Redis.

        lease: The lease on the messages of this process.

        scans: Since when, and when last, this process has scanned for messages of
            dead workers: by the server's clock, as its script says it.

        unreadable: How many messages could not be moved to the list of unreadable
            messages, as far as this process knows.
    """

    acks: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_PENDING))
    restores: deque[tuple[str, float]] = field(default_factory=lambda: deque(maxlen=MAX_PENDING))
    orphaned_fetches: deque[tuple[float, float]] = field(
        default_factory=lambda: deque(maxlen=MAX_FETCHES)
    )
    orphaned_owners: deque[tuple[str, float]] = field(
        default_factory=lambda: deque(maxlen=MAX_FETCHES)
    )
    reported: ReportedTasks = field(default_factory=ReportedTasks)
    lease: Lease = field(default_factory=Lease)
    scans: tuple[bytes, bytes] = (b"", b"")
    unreadable: int = 0


#: By the broker and the keys of the unacked messages.
_PENDING: Final[dict[tuple[Any, ...], Pending]] = {}


def pending_of(broker: tuple[Any, ...]) -> Pending:
    """Return what this process has pending for *broker*."""
    return _PENDING.setdefault(broker, Pending())


def forget_all() -> None:
    """Forget what is pending for all brokers, as tests do between two servers."""
    _PENDING.clear()
