"""
Messages that may have crashed their workers: half of them run at a time, and nothing else.

The transport's `crashes` decides which messages are suspects and how many may run.
A deferred request is not given to the pool: it waits here as a rate-limited one
waits in Celery, is requeued by a stop, handed back when its queue is paused, and dropped with a
lost connection.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from celery.worker import state as worker_state

from task_server.transport.started import crashes

logger = logging.getLogger(__name__)

state: Any = worker_state


class Quarantine:
    """
    The suspects of this worker that run, and the requests that wait for them.

    Args:
        start: Gives a request to the pool again.

        on_defer: Called when a request is deferred; from then on `admit` must be
            called repeatedly, until `waiting` is empty.
    """

    def __init__(
        self, start: Callable[[Any], object], on_defer: Callable[[], None] = lambda: None
    ) -> None:
        self.waiting: deque[Any] = deque()
        self._start = start
        self._on_defer = on_defer
        #: Suspects that run: how many may run, and until when others wait for them.
        self._running: dict[Any, tuple[int, float]] = {}
        #: When each was deferred.
        self._since: dict[Any, float] = {}
        self._admitted: set[Any] = set()

    def defers(self, request: Any) -> bool:
        """Return whether *request* must not start yet; `admit` starts it later."""
        if request in self._admitted:
            self._admitted.discard(request)
            return False
        history = crashes_of(request)
        suspect = crashes.most_beside(history) is not None
        if not (suspect or self._running or self.waiting):
            return False
        if not self.waiting and self._may_start(request, monotonic()):
            return False
        if suspect:
            logger.warning(
                "%s[%s] may have crashed %d workers: it waits until fewer tasks run beside it",
                *(request.name, request.id, len(history)),
            )
        self._since[request] = monotonic()
        self.waiting.append(request)
        self._on_defer()
        return True

    def admit(self) -> None:
        """Start what may start by now, suspects first, and drop what is gone."""
        if not self.waiting:
            return
        now = monotonic()
        for request in sorted(self.waiting, key=lambda one: not _is_suspect(one)):
            if request.acknowledged or request not in state.reserved_requests:
                # Requeued by a stop, or its connection is lost.
                self._remove(request)
            elif self._may_start(request, now):
                self._remove(request)
                self._admitted.add(request)
                self._start(request)

    def of(self, requests: Iterable[Any]) -> list[Any]:
        """Return those of *requests* that wait here."""
        waiting = set(map(id, self.waiting))
        return [request for request in requests if id(request) in waiting]

    def withdraw(self, requests: Iterable[Any]) -> list[Any]:
        """Let *requests* not start, which wait here; return those that did until now."""
        waiting = self.of(requests)
        for request in waiting:
            self._remove(request)
        return waiting

    def _remove(self, request: Any) -> None:
        self.waiting.remove(request)
        self._since.pop(request, None)

    def _may_start(self, request: Any, now: float) -> bool:
        self._running = {one: kept for one, kept in self._running.items() if not _has_ended(one)}
        history = crashes_of(request)
        most = crashes.most_beside(history)
        if most is None:
            # Neither beside a suspect nor ahead of one that waits, until its patience ends.
            untils = [until for _, until in self._running.values()]
            untils += [
                self._since[one] + crashes.patience(crashes_of(one))
                for one in self.waiting
                if _is_suspect(one)
            ]
            return all(now >= until for until in untils)
        if len(self._running) >= min([most, *(fewest for fewest, _ in self._running.values())]):
            return False
        patience = crashes.patience(history)
        if now < self._since.get(request, now) + patience and self._runs_beside_others(request):
            return False
        self._running[request] = most, now + patience
        return True

    def _runs_beside_others(self, request: Any) -> bool:
        """Return whether anything but admitted suspects runs beside *request*."""
        return any(
            one is not request and one not in self._running and not _has_ended(one)
            for one in tuple(state.reserved_requests)
            if one._apply_result is not None  # noqa: SLF001 - given to the pool
        )


def _has_ended(request: Any) -> bool:
    """Return whether the pool has run *request*."""
    if request not in state.reserved_requests:
        return True
    reference = request._apply_result  # noqa: SLF001 - of either pool
    if reference is None:
        return False
    result = reference()
    return result is None or bool(result.ready())


def _is_suspect(request: Any) -> bool:
    return crashes.most_beside(crashes_of(request)) is not None


def crashes_of(request: Any) -> list[Any]:
    """Return the crashes in the history of the message of *request*."""
    raw = request.message._raw or {}  # noqa: SLF001 - Kombu's message
    return crashes.history(raw["deaths"]) if "deaths" in raw else []
