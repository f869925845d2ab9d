"""The requests that this worker has received, and those scheduled for later."""

import itertools
from collections.abc import Iterable, Iterator
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


def withheld(consumer: Any) -> list[Any]:
    """Return the requests that wait for their ETA, or their rate limit, in *consumer*."""
    buckets = [bucket for bucket in consumer.task_buckets.values() if bucket]
    limited = [request for bucket in buckets for request, _ in tuple(bucket.contents)]
    found = [*(request for _, request in scheduled(consumer.timer)), *limited]
    # The timer keeps those that it was told to forget.
    return [request for request in found if not request.acknowledged]


def withdraw(consumer: Any, requests: Iterable[Any]) -> list[Any]:
    """Let *requests* no longer wait there; return those that did until now."""
    chosen = set(map(id, requests))
    waiting = [request for request in withheld(consumer) if id(request) in chosen]
    gone = set(map(id, waiting))
    for item, request in scheduled(consumer.timer):
        if id(request) in gone:
            consumer.timer.cancel(item.entry)
            if hasattr(item, "kill"):
                item.kill(block=False)
            # Celery has made room for another one meanwhile.
            consumer.qos.decrement_eventually()
    for bucket in consumer.task_buckets.values():
        if bucket:
            kept = [one for one in bucket.contents if id(one[0]) not in gone]
            bucket.clear_pending()
            bucket.contents.extend(kept)
    return waiting
