"""Whether children may fetch for themselves now, and what they are told of how."""

import os
from collections.abc import Iterator
from typing import Any, Final
from weakref import ReferenceType

from celery import signals
from celery.worker import state as worker_state

from task_server.worker.direct.notice import Terms

state: Any = worker_state

NOT_CONNECTED: Final = "there is no connection to Redis"
STOPPING: Final = "the worker stops"
FULL: Final = "the messages here have too many bytes"
NOT_SURE: Final = "the lease may have expired"

#: Reasons that end by themselves, and are said elsewhere.
TRANSIENT: Final = frozenset({NOT_CONNECTED, STOPPING, FULL, NOT_SURE})


class Conditions:
    """
    The conditions of one connection.

    Args:
        consumer: Celery's, which has it.

        quarantine: The suspects that wait in this worker.
    """

    def __init__(self, consumer: Any, quarantine: Any) -> None:
        self._consumer = consumer
        self._channel = consumer.task_consumer.channel
        self._quarantine = quarantine
        self._limits: tuple[str, ...] | None = None
        self._receivers = -1
        self._has_receivers = False

    def reason(self) -> str | None:
        """Return why no child may fetch for itself; None if each may."""
        return next(self._reasons(), None)

    def _reasons(self) -> Iterator[str]:
        unacked = self._channel.unacked
        if self._channel.passthrough:
            yield "a queue is consumed without acknowledgement"
        if unacked.delivered.size.is_full:
            yield FULL
        if not unacked.ownership.lease.is_sure:
            yield NOT_SURE
        if self._is_watched:
            yield "task events are sent, as somebody watches"
        if unacked.reporter.reported.marked or self._quarantine.waiting:
            yield "a message that may have crashed a worker runs, or waits"
        if self._is_received_by_others:
            yield "the project has receivers of the signal task_received"

    def signature(self) -> Any:
        """Return what is another when other terms are."""
        revoked = state.revoked
        last = next(reversed(getattr(revoked, "_data", {})), None)
        return self._queues, len(revoked), last, bool(state.revoked_stamps), self._limited

    def terms(self, node: str, *, is_open: bool) -> Terms:
        """Return what the children of *node* are told."""
        return Terms(
            open=is_open,
            queues=self._queues,
            node=node,
            pid=os.getpid(),
            revoked=tuple(map(str, state.revoked)),
            stamps=bool(state.revoked_stamps),
            limited=self._limited,
        )

    def forget_limits(self) -> None:
        """Look at the rate limits again, which may have changed."""
        self._limits = None

    @property
    def _queues(self) -> tuple[str, ...]:
        return tuple(sorted(self._channel.active_queues))

    @property
    def _limited(self) -> tuple[str, ...]:
        """The names of the tasks with a rate limit."""
        if self._limits is None:
            consumer = self._consumer
            buckets = {} if consumer.disable_rate_limits else consumer.task_buckets
            self._limits = tuple(sorted(name for name, one in buckets.items() if one))
        return self._limits

    @property
    def _is_watched(self) -> bool:
        eventer = self._consumer.event_dispatcher
        return bool(
            eventer and eventer.enabled and (not eventer.groups or "task" in eventer.groups)
        )

    @property
    def _is_received_by_others(self) -> bool:
        count = len(signals.task_received.receivers)
        if count != self._receivers:
            self._receivers, self._has_receivers = count, _has_project_receivers()
        return self._has_receivers


def _has_project_receivers() -> bool:
    """Whether others than this package listen to `task_received`, which short tasks do not send."""
    receivers: Any = [one for _, one in signals.task_received.receivers]
    receivers = [one() if isinstance(one, ReferenceType) else one for one in receivers]
    names = [getattr(one, "__module__", None) or "" for one in receivers if one is not None]
    return any(not name.startswith("task_server") for name in names)
