"""
Suspects that are set apart: half of them run at a time, with nothing else beside them.

What a suspect is, and how many may run, says the transport's `blame`. A request
that is kept back is not given to the pool: it waits here as one with a rate limit
waits in Celery, is given back by a stop, and dropped with a lost connection.
"""

import logging
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from celery.worker import state as worker_state

from task_server.transport.started import crashes as blame

logger = logging.getLogger(__name__)

state: Any = worker_state


class Apart:
    """
    The suspects of this worker that run, and the requests that wait for them.

    Args:
        start: Gives a request to the pool once more.

        waits: Called when a request is kept back; from then on `look` must be
            called from time to time, until `waiting` is empty.
    """

    def __init__(
        self, start: Callable[[Any], object], waits: Callable[[], None] = lambda: None
    ) -> None:
        self.waiting: deque[Any] = deque()
        self._start = start
        self._waits = waits
        #: Suspects that run: how many may, and until when others wait for them.
        self._inside: dict[Any, tuple[int, float]] = {}
        #: Since when each waits.
        self._since: dict[Any, float] = {}
        self._admitted: set[Any] = set()

    def keeps_back(self, request: Any) -> bool:
        """Return whether *request* must not begin yet; `look` starts it then."""
        if request in self._admitted:
            self._admitted.discard(request)
            return False
        deaths = deaths_of(request)
        suspect = blame.most_beside(deaths) is not None
        if not (suspect or self._inside or self.waiting):
            return False
        if not self.waiting and self._may_begin(request, monotonic()):
            return False
        if suspect:
            logger.warning(
                "%s[%s] may be what %d workers died of: it waits until fewer tasks run beside it",
                *(request.name, request.id, len(deaths)),
            )
        self._since[request] = monotonic()
        self.waiting.append(request)
        self._waits()
        return True

    def look(self) -> None:
        """Start what may begin by now, suspects first, and forget what is gone."""
        if not self.waiting:
            return
        now = monotonic()
        for request in sorted(self.waiting, key=lambda one: not _is_suspect(one)):
            if request.acknowledged or request not in state.reserved_requests:
                # Given back by a stop, or its connection is lost.
                self._forget(request)
            elif self._may_begin(request, now):
                self._forget(request)
                self._admitted.add(request)
                self._start(request)

    def _forget(self, request: Any) -> None:
        self.waiting.remove(request)
        self._since.pop(request, None)

    def _may_begin(self, request: Any, now: float) -> bool:
        self._inside = {one: kept for one, kept in self._inside.items() if not _is_over(one)}
        deaths = deaths_of(request)
        most = blame.most_beside(deaths)
        if most is None:
            # Neither beside a suspect nor before one that waits, for so long.
            untils = [until for _, until in self._inside.values()]
            untils += [
                self._since[one] + blame.patience(deaths_of(one))
                for one in self.waiting
                if _is_suspect(one)
            ]
            return all(now >= until for until in untils)
        if len(self._inside) >= min([most, *(fewest for fewest, _ in self._inside.values())]):
            return False
        patience = blame.patience(deaths)
        if now < self._since.get(request, now) + patience and self._has_strangers(request):
            return False
        self._inside[request] = most, now + patience
        return True

    def _has_strangers(self, request: Any) -> bool:
        """Return whether others than suspects that were let in run beside *request*."""
        return any(
            one is not request and one not in self._inside and not _is_over(one)
            for one in tuple(state.reserved_requests)
            if one._apply_result is not None  # noqa: SLF001 - given to the pool
        )


def _is_over(request: Any) -> bool:
    """Return whether the pool has got *request* and has done with it."""
    if request not in state.reserved_requests:
        return True
    reference = request._apply_result  # noqa: SLF001 - of either pool
    if reference is None:
        return False
    result = reference()
    return result is None or bool(result.ready())


def _is_suspect(request: Any) -> bool:
    return blame.most_beside(deaths_of(request)) is not None


def deaths_of(request: Any) -> list[Any]:
    """Return the deaths in the history of the message of *request*."""
    raw = request.message._raw or {}  # noqa: SLF001 - Kombu's message
    return blame.history(raw["deaths"]) if "deaths" in raw else []
