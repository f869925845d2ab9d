"""Rows of tasks that are due in an hour: what they cost a worker that starts in front of them."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from threading import Event

from tests.benchmarks.crew import Crew
from tests.benchmarks.loading import lists
from tests.benchmarks.messages import messages
from tests.benchmarks.project.ledger import NOBODY
from tests.support.wait import until

#: Processor time of a worker below which it has settled, as a share of a core.
QUIET = 0.15

#: For which it idles, in seconds; less in a trial.
IDLES = 5.0


@dataclass(frozen=True)
class Delayed:
    """
    Measures a worker that starts with *waiting* delayed tasks and one more in its queue.

    How long until that one has run; memory, and processor time while it idles; how fast
    *count* tasks are run then; how long it takes to end, and its successor to have run one.
    """

    waiting: int

    def __call__(self, crew: Crew, count: int) -> dict[str, float]:
        """Run *count* tasks beside those that wait; all is gone in the end."""
        waiting = min(self.waiting, count * 100)
        crew.ledger.forget(1)
        eta = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        delayed = messages(crew.broker, "plain.noop", [NOBODY] * waiting, eta=eta)
        due = messages(crew.broker, "plain.noop", [0])
        lists(crew.broker, {"celery": chain(delayed, due)})()
        try:
            values = {"seconds": _started(crew)}
            until(lambda: _used(crew, 1.0) < QUIET, "it to settle", 300)
            values["idle"] = _used(crew, min(IDLES, count / 10)) * 1e3
            values["memory"] = crew.pss() / 2**20
            values["rate"] = _drained(crew, count)
            values["drain"] = crew.end_workers()
            crew.ledger.forget(1)
            lists(crew.broker, {"celery": messages(crew.broker, "plain.noop", [0])})()
            values["again"] = _started(crew)
            return values
        finally:
            crew.stop_workers()
            crew.broker.client.flushdb()


def _started(crew: Crew) -> float:
    """Start a worker; return the seconds until it has run the first task."""
    begun = time.monotonic()
    crew.start()
    crew.finish(1)
    return crew.ledger.ended(1) - begun


def _used(crew: Crew, seconds: float) -> float:
    """Return the share of a core that the worker uses in the next *seconds*."""
    before = crew.cpu()
    Event().wait(seconds)
    return (crew.cpu() - before) / seconds


def _drained(crew: Crew, count: int) -> float:
    crew.ledger.forget(count)
    release = lists(crew.broker, {"celery": messages(crew.broker, "plain.noop", range(count))})
    start = time.monotonic()
    release()
    crew.finish(count)
    return count / (crew.ledger.ended(count) - start)
