"""
Adds up the tasks that end in this process, whichever it is: the main one, or a child of prefork.

It hears of each by Celery's own signals. A task that was interrupted, whose message is delivered
again, has not ended.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from time import monotonic, time
from typing import Any, Final

from celery import signals, states

from task_server.producer.stamp import sent_at
from task_server.transport.store.statistics import Row
from task_server.worker.status.queue_names import QueueNames
from task_server.worker.status.tally import Tally

#: How a task ended, by Celery's word.
ENDS: Final = {
    states.SUCCESS: "succeeded",
    states.FAILURE: "failed",
    states.RETRY: "retried",
    states.REJECTED: "rejected",
    states.IGNORED: "rejected",
}

#: Where the start of a task is kept meanwhile, in its request.
STARTED: Final = "task_server_started"


class Finished:
    """What has ended in this process, and in its children."""

    def __init__(self) -> None:
        self._own: Tally | None = None
        self._next: Tally | None = None
        self._children: list[tuple[Any, Tally]] = []
        self._names = QueueNames()
        self._main = os.getpid()

    def install(self) -> None:
        """Add up what ends in this process from now on."""
        self._own = Tally.own()
        signals.task_prerun.connect(self._starts, weak=False)
        signals.task_postrun.connect(self._ends, weak=False)

    @contextmanager
    def of_child(self, process: Any) -> Iterator[None]:
        """
        Share memory with the child that is forked inside, which `process` then is.

        Args:
            process: billiard's; it has a `returncode` when the child has ended.
        """
        if self._own is None or os.getpid() != self._main:
            yield
            return
        self._next = Tally.shared()
        try:
            yield
            self._children.append((process, self._next))
        finally:
            self._next = None

    def in_child(self) -> None:
        """Add up in the memory that is shared with the main process: this is its child."""
        self._own, self._next = self._next, None
        self._children.clear()

    def in_fork(self) -> None:
        """Add up nothing: this process was forked by a task, or is not a child yet."""
        self._own = None

    def add(self, task: Any, request: Any, end: str, run: float | None) -> None:
        """Add the end of a *task* that others ended, after *run* seconds, if that is known."""
        # One that is being run here is added when it ends.
        if self._own is not None and STARTED not in getattr(request, "__dict__", ()):
            row = task.name, self._names.of(request.delivery_info, task.app)
            self._own.add(row, end, run, None)

    def changes(self) -> Iterable[tuple[Row, dict[str, int]]]:
        """Return what has been added since the last call, one process after another."""
        if self._own is not None:
            yield from self._own.changes()
        for child in list(self._children):
            process, tally = child
            # Looked at before it is read: one that has ended adds no more.
            has_ended = process.returncode is not None
            yield from tally.changes()
            if has_ended:
                self._children.remove(child)

    def _starts(self, task: Any, **_: Any) -> None:
        # What the property `request` returns, with less to do.
        request = task.request_stack.top
        if not request.is_eager:
            request.__dict__[STARTED] = monotonic()

    def _ends(self, task: Any, state: Any, **_: Any) -> None:
        values = task.request_stack.top.__dict__
        started = values.pop(STARTED, None)
        end = ENDS.get(state)
        if started is None or end is None or self._own is None:
            return
        run = monotonic() - started
        sent = sent_at({"headers": values})
        waited = None
        if sent is not None:
            # A task that was delayed has waited since it was due.
            waited = max(0.0, time() - run - max(sent, _due(values.get("eta"))))
        queue = self._names.of(values.get("delivery_info"), task.app)
        self._own.add((task.name, queue), end, run, waited)


def _due(eta: Any) -> float:
    """Return when a task with this ETA was due, in seconds since 1970; 0 if that is not known."""
    if not isinstance(eta, str):
        return 0.0
    try:
        found = datetime.fromisoformat(eta)
    except ValueError:
        return 0.0
    return found.timestamp() if found.tzinfo is not None else 0.0
