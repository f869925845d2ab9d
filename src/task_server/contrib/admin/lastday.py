"""
What ended in the last day, ten minutes by ten minutes, for graphs.

A worker says every few seconds how long its queues are. Where that is missing there was none of
ours, or Redis was: a gap, and not 0.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from task_server.contrib.admin.graphs import Bar, Graph, graph
from task_server.contrib.admin.text import moment
from task_server.transport.store import statistics
from task_server.transport.store.keys import Keys
from task_server.transport.store.statistics import ENDS, TEN_MINUTES

#: Hashes that one pipeline reads, and seconds after which no further one is begun: a page that
#: has a thousand tasks shows less of the day.
AT_ONCE: Final = 24
SECONDS: Final = 0.7

#: What one bar has in a table, and on a page of its own: an hour, half an hour.
HOUR: Final = 6
HALF: Final = 3

#: Pixels of a graph in a table, and on a page of its own.
LOW: Final = 24
HIGH: Final = 80


@dataclass(slots=True)
class Ended:
    """How many tasks ended, and how many of them failed, by when the ten minutes began."""

    count: Counter[int] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)

    def add(self, start: int, numbers: dict[str, int]) -> None:
        """Add the *numbers* of one task and queue."""
        self.count[start] += sum(numbers.get(name, 0) for name in ENDS)
        self.failed[start] += numbers.get("failed", 0)


@dataclass(frozen=True, slots=True)
class Day:
    """
    The last day.

    Attributes:
        starts: When each ten minutes began, the oldest first; the last is not over.

        seen: Of each queue when somebody counted.
    """

    starts: range
    queues: dict[str, Ended]
    tasks: dict[tuple[str, str], Ended]
    seen: dict[str, set[int]]

    def of_queue(self, name: str) -> Graph:
        """Return the graph of the queue *name*, for a page of its own."""
        return self._graph(name, self.queues.get(name), HIGH, HALF)

    def small(self, name: str) -> Graph:
        """Return the same, for a table."""
        return self._graph(name, self.queues.get(name), LOW, HOUR)

    def of_tasks(self, queue: str) -> list[tuple[str, Graph]]:
        """Return the graphs of the tasks of *queue*, those that failed most often first."""
        mine = {task: ended for (task, of), ended in self.tasks.items() if of == queue}
        found = [(task, self._graph(queue, ended, LOW, HOUR)) for task, ended in mine.items()]
        return sorted(found, key=lambda pair: (-pair[1].failed, -pair[1].total, pair[0]))

    def _graph(self, queue: str, ended: Ended | None, height: int, steps: int) -> Graph:
        width = steps * self.starts.step
        return graph(list(self._bars(queue, ended or Ended(), width)), height)

    def _bars(self, queue: str, ended: Ended, width: int) -> Iterator[Bar]:
        first = self.starts.start // width * width
        seen = self.seen.get(queue, set())
        for start in range(first, self.starts.stop, width):
            steps = range(start, start + width, self.starts.step)
            over = [one for one in steps if one in self.starts[:-1]]
            count = sum(ended.count[one] for one in steps)
            failed = sum(ended.failed[one] for one in steps)
            at, until = moment(start), moment(start + width)
            when = f"{at:%H:%M} - {until:%H:%M}" if at and until else ""
            if over and seen.isdisjoint(steps):
                yield Bar(f"{when}: ?", 0, is_gap=True)
                continue
            yield Bar(f"{when}: {count}" + (f" ({failed} ✗)" if failed else ""), count, failed)


def last_day(client: Any, keys: Keys, now: float) -> Day:
    """
    Return what ended in the day before *now*, the latest first if there is not time for all.

    Raises:
        RedisError: When Redis does not answer.
    """
    starts = TEN_MINUTES.starts(now)
    end = monotonic() + SECONDS
    day = Day(starts, {}, {}, {})
    newest = list(reversed(starts))
    for first in range(0, len(newest), AT_ONCE):
        if monotonic() > end:
            break
        some = newest[first : first + AT_ONCE]
        names = [keys.statistics_of(TEN_MINUTES.seconds, start) for start in some]
        for start, rows in zip(some, statistics.read(client, names), strict=True):
            for row, value in rows.items():
                day.seen.setdefault(row[-1], set()).add(start)
                if len(row) == len(("task", "queue")):
                    numbers = statistics.numbers_in(value)
                    day.tasks.setdefault((row[0], row[1]), Ended()).add(start, numbers)
                    day.queues.setdefault(row[1], Ended()).add(start, numbers)
    return day
