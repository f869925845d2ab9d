"""
What workers have finished: counts, failures, retries, and how long tasks ran and waited.

`snapshot(client, keys).tasks` has, for each task and queue, a `TaskStatistics`: `.total` (a
`Finished`: `.succeeded .failed .retried .rejected .ended`, and the histograms `.ran` and `.waited`)
only grows, over restarts of workers too, until Redis loses it: counters for Prometheus, without a
node in their labels. `.recent` are `Counts` of the last `.seconds`, of five to six
minutes; `.per_minute("failed")` is a rate of them. A `Histogram` has `.counts` (one for each of
`BOUNDS`, and one above), `.sum` in seconds, `.count`, `.quantile(0.95)`, and `.cumulative()` as
Prometheus has it. `Queue.rate_in`, `.rate_out` are `Rate`s, `.usual` the seconds that messages
usually wait; `Snapshot.usual` the seconds that tasks usually run, by name. For graphs `hour(client,
keys)` and `day(client, keys)` return a `History`: `.start`, `.step` (seconds), `.tasks` by task and
queue, and `.lengths` by queue, each a tuple of one value a step, the oldest first, None where there
is none; `.of_queue(name)` and `.of_task(name)` add them up.

A task and queue of `("", "")` stand for all that did not fit; a queue of "" is not known.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from task_server.monitor.counts import Counts, Finished, Histogram, TaskStatistics
from task_server.transport.store import statistics
from task_server.transport.store.keys import Keys
from task_server.transport.store.statistics import BOUNDS, MINUTE, TEN_MINUTES, Period, Row

#: Whole minutes that are recent, beside the present one.
RECENT: Final = 5

#: Hashes that one pipeline reads.
AT_ONCE: Final = 24

_RUN: Final = tuple(f"r{number}" for number in range(len(BOUNDS) + 1))
_WAIT: Final = tuple(f"w{number}" for number in range(len(BOUNDS) + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """
    What was finished in the past, step by step.

    Attributes:
        start: When the first step began, in seconds since 1970.

        step: Its seconds; the last is the present one, which is not over.

        tasks: By task and queue; of a minute, the histograms have sums only.

        lengths: Messages that waited, by queue, at about the end of each step.
    """

    start: float
    step: int
    tasks: Mapping[Row, tuple[Finished | None, ...]]
    lengths: Mapping[str, tuple[int | None, ...]]

    def of_queue(self, name: str) -> tuple[Finished, ...]:
        """Return all tasks of the queue *name*, added up."""
        return self._added(row for row in self.tasks if row[1] == name)

    def of_task(self, name: str) -> tuple[Finished, ...]:
        """Return the task *name* in all queues, added up."""
        return self._added(row for row in self.tasks if row[0] == name)

    def _added(self, rows: Iterable[Row]) -> tuple[Finished, ...]:
        steps = zip(*(self.tasks[row] for row in rows), strict=True)
        return tuple(added(one for one in step if one is not None) for step in steps)


def hour(client: Any, keys: Keys) -> History:
    """Return the last hour, minute by minute; errors as of `snapshot`."""
    return _history(client, keys, MINUTE)


def day(client: Any, keys: Keys) -> History:
    """Return the last day, ten minutes by ten minutes; errors as of `snapshot`."""
    return _history(client, keys, TEN_MINUTES)


def tasks(client: Any, keys: Keys, now: float) -> tuple[TaskStatistics, ...]:
    """Return each task in each queue; those that fail most often now first."""
    names = [keys.statistics_of(MINUTE.seconds, start) for start in recent_minutes(now)]
    totals, *minutes = statistics.read(client, [keys.statistics, *names])
    recent: defaultdict[tuple[str, ...], list[Counts]] = defaultdict(list)
    for rows in minutes:
        for row, value in rows.items():
            recent[row].append(_counts(statistics.numbers_in(value)))
    found = [
        TaskStatistics(
            task=row[0],
            queue=row[1],
            total=finished(statistics.numbers_in(value)),
            recent=sum(recent[row], Counts()),
            seconds=recent_seconds(now),
        )
        for row, value in totals.items()
        if len(row) == len(("task", "queue"))
    ]
    return tuple(sorted(found, key=lambda one: (-one.recent.failed, one.task, one.queue)))


def recent_minutes(now: float) -> range:
    """Return when each minute began that counts as recent, the present one among them."""
    return MINUTE.starts(now)[-RECENT - 1 :]


def recent_seconds(now: float) -> float:
    """Return how many seconds those are until *now*."""
    return max(1.0, now - recent_minutes(now)[0])


def lengths_before(client: Any, keys: Keys, now: float) -> dict[str, int]:
    """Return how much waited in each queue when the recent minutes began."""
    name = keys.statistics_of(MINUTE.seconds, recent_minutes(now)[0] - MINUTE.seconds)
    (rows,) = statistics.read(client, [name])
    return {row[0]: int(value) for row, value in rows.items() if len(row) == 1 and value.isdigit()}


def added(every: Iterable[Finished]) -> Finished:
    """Return the sum of *every*."""
    return sum(every, Finished())


def finished(numbers: Mapping[str, int]) -> Finished:
    """Return what *numbers* say, by name."""
    return Finished(
        **{name: numbers.get(name, 0) for name in statistics.ENDS},
        ran=_histogram(numbers, _RUN, "run"),
        waited=_histogram(numbers, _WAIT, "wait"),
    )


def _counts(numbers: Mapping[str, int]) -> Counts:
    return Counts(**{name: numbers.get(name, 0) for name in statistics.ENDS})


def _histogram(numbers: Mapping[str, int], names: Sequence[str], total: str) -> Histogram:
    counts = tuple(numbers.get(name, 0) for name in names)
    return Histogram(counts=counts, sum=numbers.get(total, 0) / 1e6)


def _history(client: Any, keys: Keys, period: Period) -> History:
    seconds, micros = client.time()
    starts = period.starts(seconds + micros / 1e6)
    names = [keys.statistics_of(period.seconds, start) for start in starts]
    by_row: dict[Row, list[Finished | None]] = {}
    lengths: dict[str, list[int | None]] = {}
    for first in range(0, len(names), AT_ONCE):
        found = statistics.read(client, names[first : first + AT_ONCE])
        for index, rows in enumerate(found, first):
            for row, value in rows.items():
                if len(row) == 1:
                    length = int(value) if value.isdigit() else None
                    lengths.setdefault(row[0], [None] * len(names))[index] = length
                else:
                    one = finished(statistics.numbers_in(value))
                    by_row.setdefault((row[0], row[1]), [None] * len(names))[index] = one
    return History(
        start=float(starts[0]),
        step=period.seconds,
        tasks={row: tuple(steps) for row, steps in by_row.items()},
        lengths={queue: tuple(steps) for queue, steps in lengths.items()},
    )
