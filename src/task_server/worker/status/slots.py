"""Numbers that cannot be: tasks that hold a place of the pool and run nowhere."""

import logging
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

logger = logging.getLogger(__name__)

#: Seconds that a task may be between its end and the news of it.
PATIENCE = 30.0


class Places:
    """
    Looks, at each heartbeat, whether what is counted as running does run.

    Args:
        running: Returns those of some requests that run.
    """

    def __init__(self, running: Callable[[Iterable[Any]], list[Any]]) -> None:
        self._running = running
        self._since: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        self._told: set[str] = set()

    def lost(self, active: Iterable[Any], now: float) -> int:
        """Return how many of the requests *active* run nowhere, for longer than is possible."""
        active = list(active)
        running = {id(request) for request in self._running(active)}
        gone = [request for request in active if id(request) not in running]
        since: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        for request in gone:
            since[request] = self._since.get(request, now)
        self._since = since
        lost = [request for request in gone if now - since[request] >= PATIENCE]
        for request in lost:
            if request.id not in self._told:
                self._told.add(request.id)
                logger.error(
                    "%s[%s] holds a place and does not run: its end was not told, which is a fault "
                    "of task-server or Celery; its place is free again when the worker restarts",
                    request.name,
                    request.id,
                )
        return len(lost)
