"""Tasks that occupy a slot of the pool and do not run."""

import logging
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

logger = logging.getLogger(__name__)


class LeakedSlots:
    """
    Checks, at each heartbeat, that tasks counted as active are really running.

    Args:
        running: Returns which of the given requests are running.

        grace: Seconds that Celery may need to process the end of a task.
    """

    def __init__(self, running: Callable[[Iterable[Any]], list[Any]], grace: float) -> None:
        self._running = running
        self._grace = grace
        self._since: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        self._logged: set[str] = set()

    def count(self, active: Iterable[Any], now: float) -> int:
        """Return how many of the requests *active* have not run for longer than the grace."""
        active = list(active)
        running = {id(request) for request in self._running(active)}
        gone = [request for request in active if id(request) not in running]
        since: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        for request in gone:
            since[request] = self._since.get(request, now)
        self._since = since
        lost = [request for request in gone if now - since[request] >= self._grace]
        for request in lost:
            if request.id not in self._logged:
                self._logged.add(request.id)
                logger.error(
                    "%s[%s] occupies a slot and does not run: its end was not reported, which is a "
                    "bug of task-server or Celery; a restart of the worker frees the slot",
                    request.name,
                    request.id,
                )
        return len(lost)
