"""The tasks under gevent that were received and have not started, and can be handed back."""

from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakSet

from task_server.worker.broker.quarantine import Quarantine
from task_server.worker.foreign_requests import PoolJobs


class Waiting:
    """
    The requests that wait for a slot, or in *quarantine*, or whose greenlet has not run yet.

    And those that are collected for a *foreign* job of the pool; what such a job has is left alone.
    """

    def __init__(self, foreign: PoolJobs, quarantine: Quarantine) -> None:
        self._foreign = foreign
        self._quarantine = quarantine
        self._spawning: set[Any] = set()
        self._withdrawn: WeakSet[Any] = WeakSet()

    def spawn(self, request: Any, spawn: Callable[[], Any]) -> Any:
        """Call *spawn*, which waits for a free slot for *request*."""
        self._spawning.add(request)
        try:
            return spawn()
        finally:
            self._spawning.discard(request)

    def of(self, requests: Iterable[Any]) -> list[Any]:
        """Return those of *requests* that have not started."""
        every = list(requests)
        own = [one for one in every if self._is_waiting(one) and not self._foreign.of(one)]
        waiting = [*own, *self._quarantine.of(every), *self._foreign.collected(every)]
        return list(dict.fromkeys(waiting))

    def withdraw(self, requests: Iterable[Any]) -> list[Any]:
        """Let *requests* not start, which wait; return those that did until now."""
        waiting = self.of(requests)
        self._quarantine.withdraw(waiting)
        self._foreign.withdraw(waiting)
        self._withdrawn.update(waiting)
        return waiting

    def is_withdrawn(self, request: Any) -> bool:
        """Whether *request* was handed back before it started."""
        return request in self._withdrawn

    def _is_waiting(self, request: Any) -> bool:
        return request in self._spawning or (is_pending(request) and bool(greenlet_of(request)))


def is_pending(request: Any) -> bool:
    """Return whether the task of *request* has not started."""
    # Without a result the consumer waits for a free slot to spawn it; without a start it
    # is spawned and has not run yet.
    if request._apply_result is None:  # noqa: SLF001
        return True
    return greenlet_of(request) is not None and request.time_start is None


def greenlet_of(request: Any) -> Any | None:
    """Return the greenlet of *request*; None if it has ended or is not spawned."""
    reference = request._apply_result  # noqa: SLF001
    greenlet = reference and reference()
    return None if greenlet is None or greenlet.dead else greenlet
