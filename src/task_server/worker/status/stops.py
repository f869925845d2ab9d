"""
What is stopped by hand of this worker: read along with each registration.

The fetch obeys by itself, in the step in which it would take something. This is for what it
has taken before, for its health, and for its log.
"""

import logging
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final

from task_server.health.heartbeat import Heartbeat
from task_server.transport.store.excerpt import excerpt
from task_server.transport.store.stops import Stop, Stops
from task_server.worker.status.queues import ConsumedQueues

logger: Final = logging.getLogger(__name__)


class StopWatch:
    """
    The stops of one worker.

    Args:
        interval: Seconds between two looks, if no fetch finds another queue paused.

    Attributes:
        hand_back: Gets the stops at each look, while there are some: it hands back what has not
            started.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = 0.0
        self.hand_back: Callable[[Stops], None] = _nothing
        self._stops = Stops()
        self._closed: frozenset[str] = frozenset()

    def look(self, queues: ConsumedQueues, fetcher: Any, heartbeat: Heartbeat) -> Heartbeat:
        """Read what is stopped of *queues*, if it is time; return the *heartbeat* with that."""
        if fetcher is None:
            return heartbeat  # with Kombu's transport it obeys nothing
        closed = fetcher.idle.closed
        if monotonic() < self._next and closed == self._closed:
            return heartbeat
        self._closed, self._next = closed, monotonic() + self._interval
        found = queues.stops(heartbeat.node or heartbeat.name)
        if found is None:
            return heartbeat
        _log_change({"this node": self._stops.drain}, {"this node": found.drain}, "drained")
        _log_change(self._stops.queues, found.queues, "paused")
        self._stops = found
        if found:
            self.hand_back(found)
        paused = [f"{name} {described(stop)}" for name, stop in sorted(found.queues.items())]
        return heartbeat._replace(
            paused=", ".join(map(excerpt, paused)) or None,
            drained=excerpt(described(found.drain)) if found.drain else None,
        )

    def open(self, lengths: Mapping[str, int]) -> dict[str, int]:
        """Return those of *lengths* from whose queues this worker takes something."""
        if self._stops.drain:
            return {}
        return {name: length for name, length in lengths.items() if name not in self._stops.queues}


def described(stop: Stop) -> str:
    """Return who stopped it: (by alice@host)."""
    return f"(by {stop.who})" if stop.who else "(by hand)"


def _log_change(
    before: Mapping[str, Stop | None], after: Mapping[str, Stop | None], word: str
) -> None:
    for name in sorted({*before, *after}):
        was, stop = before.get(name), after.get(name)
        if stop and not was:
            logger.warning("%s is %s %s", excerpt(name), word, excerpt(described(stop)))
        elif was and not stop:
            logger.warning("%s is not %s any more", excerpt(name), word)


def _nothing(_stops: Stops) -> None:
    """Hand back nothing: the worker has not connected yet."""
