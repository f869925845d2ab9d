"""What this worker has taken and not started goes back when its queue, or its node, is stopped."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from celery.worker import state as worker_state
from kombu.utils.encoding import bytes_to_str

from task_server.transport.store.entry import original_of
from task_server.transport.store.keys import Keys
from task_server.transport.store.scripts import BATCH, ENTRIES
from task_server.transport.store.stops import Stops
from task_server.worker.requests import withdraw, withheld

logger = logging.getLogger(__name__)

state: Any = worker_state


class Waiting(Protocol):
    """The tasks of a pool that have not started, see `pools.prefork` and `pools.gevent_waiting`."""

    def of(self, requests: Iterable[Any]) -> list[Any]: ...
    def withdraw(self, requests: Iterable[Any]) -> list[Any]: ...


class HandBack:
    """
    Hands back for this process.

    Args:
        received: The requests that it has received, the oldest first.

        waiting: Returns those that have not started; None before there is a pool.

        is_stopping: Whether it stops, and hands everything back anyway.
    """

    def __init__(
        self,
        received: Iterable[Any],
        waiting: Callable[[], Waiting | None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._received = received
        self._waiting = waiting
        self._is_stopping = is_stopping
        self._consumer: Any = None

    def attach(self, consumer: Any) -> None:
        """Hand back what *consumer* receives."""
        self._consumer = consumer

    def detach(self) -> None:
        """Hand back nothing: the connection is lost."""
        self._consumer = None

    def __call__(self, stops: Stops) -> None:
        """Hand back what has not started of the queues, or the node, that *stops* says."""
        consumer, pool = self._consumer, self._waiting()
        channel = getattr(getattr(consumer, "task_consumer", None), "channel", None)
        if pool is None or channel is None or self._is_stopping():
            return
        if not hasattr(channel, "fetcher"):
            return
        unacked = channel.unacked
        try:
            # Newer than what it has received: these go to the front before those.
            unacked.prefetched.requeue(None if stops.drain else stops.queues)
            waiting = [*withheld(consumer), *pool.of(self._received)]
            chosen = waiting if stops.drain else _of(unacked.store, waiting, stops)
        except unacked.store.errors as error:
            logger.debug("nothing is handed back yet: %s", error)
            return
        # Under gevent some may have started, or the connection may be lost, meanwhile.
        if consumer is not self._consumer:
            return
        order = {id(request): number for number, request in enumerate(self._received)}
        chosen = [*withdraw(consumer, chosen), *pool.withdraw(chosen)]
        chosen.sort(key=lambda request: order.get(id(request), 0))
        for request in chosen:
            request.acknowledged = True
            state.task_ready(request)
        if not chosen:
            return
        channel.qos.hand_back([str(request.message.delivery_tag) for request in chosen])
        names = ", ".join(f"{request.name}[{request.id}]" for request in chosen[:20])
        logger.info("%d tasks that have not started are handed back: %s", len(chosen), names)


def _of(store: Any, requests: Sequence[Any], stops: Stops) -> list[Any]:
    """Return those of *requests* that were taken from a queue that is paused: their entries say."""
    found = []
    for first in range(0, len(requests), BATCH):
        some = requests[first : first + BATCH]
        while some:
            tags = [str(request.message.delivery_tag) for request in some]
            entries = ENTRIES.run(store.client, [store.keys.unacked], tags)
            found += [
                request
                for request, entry in zip(some, entries, strict=False)
                if entry is not None and _queue_of(store.keys, entry) in stops.queues
            ]
            # It returns some megabytes at a time.
            some = some[len(entries) or len(some) :]
    return found


def _queue_of(keys: Keys, entry: bytes) -> str | None:
    original = original_of(entry)
    return keys.queue_of(bytes_to_str(original.list_key)) if original else None
