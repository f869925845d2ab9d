"""
What the processes of one worker have finished, merged, in batches that are written once each.

A batch is kept until Redis has confirmed it. What a `kill -9` of the main process loses is what was
not written by then: of the time between two registrations.
"""

from collections import Counter, defaultdict
from collections.abc import Container
from typing import Final

from task_server.transport.store.statistics import ENDS, Batch, Row
from task_server.worker.status.finished import Finished

#: Rows of one batch: Redis serves no one else while it adds them.
MOST: Final = 25


class Statistics:
    """
    What *finished* has added up and is not in Redis yet.

    Attributes:
        ends: How many tasks have ended in each way, since the worker started.
    """

    def __init__(self, finished: Finished) -> None:
        self._finished = finished
        self._new: defaultdict[Row, Counter[str]] = defaultdict(Counter)
        self._pending: Batch | None = None
        self._number = 0
        self.ends: dict[str, int] = dict.fromkeys(ENDS, 0)

    def collect(self, queues: Container[str]) -> None:
        """Take what was added since; what came from none of *queues* has no queue."""
        for (task, queue), numbers in self._finished.changes():
            self._new[task, queue if queue in queues else ""].update(numbers)
            for name in ENDS:
                self.ends[name] += numbers.get(name, 0)

    def next(self) -> Batch | None:
        """Return what is to be written next: the same until it is confirmed; None if nothing is."""
        if self._pending is None and self._new:
            rows = {row: self._new.pop(row) for row in list(self._new)[:MOST]}
            self._number += 1
            self._pending = Batch(self._number, rows)
        return self._pending

    def confirm(self) -> None:
        """Forget what `next` has returned: it is written."""
        self._pending = None
