"""How many tasks ended, in which way, how long they ran, and how long they had waited."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import inf
from typing import Final, Self

from task_server.transport.store.statistics import BOUNDS

#: Buckets of a histogram: one for each bound, and one above.
BUCKETS: Final = len(BOUNDS) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """
    How many took how long.

    Attributes:
        counts: By `BOUNDS`, each for what took no longer; the last for what took longer.

        sum: Of all, in seconds.
    """

    counts: tuple[int, ...] = (0,) * BUCKETS
    sum: float = 0.0

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts)

    def __add__(self, other: Self) -> Self:
        """Return both together."""
        counts = tuple(one + two for one, two in zip(self.counts, other.counts, strict=True))
        return type(self)(counts=counts, sum=self.sum + other.sum)

    def quantile(self, share: float) -> float | None:
        """
        Return the seconds that a *share* of them, 0 to 1, did not exceed; None if there are none.

        Within a bucket it is interpolated; beyond the last bound it is that.
        """
        wanted = share * self.count
        if not self.count:
            return None
        below, lower = 0, 0.0
        for bound, count in zip(BOUNDS, self.counts, strict=False):
            if count and below + count >= wanted:
                return lower + (bound - lower) * (wanted - below) / count
            below, lower = below + count, bound
        return lower

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Return each bound, infinity the last, with how many took no longer."""
        below = 0
        for bound, count in zip((*BOUNDS, inf), self.counts, strict=True):
            below += count
            yield bound, below


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """
    Tasks that ended, each try by itself.

    Attributes:
        failed: With no further try.

        retried: To be tried again.

        rejected: Without a result, by Reject or Ignore.
    """

    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    rejected: int = 0

    @property
    def ended(self) -> int:
        """All of them."""
        return self.succeeded + self.failed + self.retried + self.rejected

    def __add__(self, other: Self) -> Self:
        """Return both together."""
        names = [field.name for field in fields(self)]
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Counts):
    """
    The same, with their times.

    Attributes:
        ran: How long each try ran, where its end was seen.

        waited: From its sending, or from when it was due, to its start; of those that say when
            they were sent, by the clocks of the two machines.
    """

    ran: Histogram = Histogram()
    waited: Histogram = Histogram()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatistics:
    """
    One task in one queue.

    Attributes:
        task, queue: Both are '' for all that did not fit; a queue of '' is not known.

        total: All that Redis remembers: it only grows.

        recent: Of the last *seconds*.
    """

    task: str
    queue: str
    total: Finished
    recent: Counts
    seconds: float

    def per_minute(self, what: str = "ended") -> float:
        """Return how many a minute, recently; *what* is an attribute of `Counts`."""
        return float(60.0 * getattr(self.recent, what) / self.seconds)
