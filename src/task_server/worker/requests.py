"""The requests that this worker has received, and those scheduled for later."""

import itertools
from collections.abc import Iterator
from typing import Any
from weakref import WeakValueDictionary


class ReceivedRequests:
    """The requests this worker has received and not acknowledged, oldest first."""

    def __init__(self) -> None:
        self._count = itertools.count()
        # Celery keeps a request alive while it needs it; 5.6 has no list of
        # those that wait for their ETA.
        self._requests: WeakValueDictionary[int, Any] = WeakValueDictionary()

    def __iter__(self) -> Iterator[Any]:
        return (request for request in self.all() if not request.acknowledged)

    def all(self) -> list[Any]:
        """Return the requests that still exist, acknowledged ones that run included."""
        return list(self._requests.values())

    def add(self, request: Any) -> None:
        """Add *request*, until Celery drops it."""
        self._requests[next(self._count)] = request


def scheduled(timer: Any) -> list[tuple[Any, Any]]:
    """Return (timer's item, request) of the tasks that wait in *timer* for their ETA."""
    found = []
    for item in list(timer.schedule.queue):
        args = item.entry.args
        if args and hasattr(args[0], "execute_using_pool"):
            found.append((item, args[0]))
    return found


def cancel_scheduled(timer: Any) -> None:
    """Cancel the tasks that wait in *timer* for their ETA."""
    for item, _ in scheduled(timer):
        timer.cancel(item.entry)
        # A greenlet of the gevent timer does not check whether it was cancelled.
        if hasattr(item, "kill"):
            item.kill(block=False)
