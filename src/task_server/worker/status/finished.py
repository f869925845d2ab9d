"""
Adds up the tasks that end in this process, whichever it is: the main one, or a child of prefork.

What Celery calls for a message, a task's `__trace__`, returns how the task ended, and how long it
ran; so it is wrapped. The signals would say the same, and take five times as long: while one has
a receiver, each task looks for it twice, behind a lock. A task that was interrupted, whose message
is delivered again, has not ended.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from time import monotonic, time
from typing import Any, Final

from celery import Task, signals, states

from task_server.producer.stamp import sent_in
from task_server.transport.store.statistics import Row
from task_server.worker.patching import patch
from task_server.worker.status.queue_names import QueueNames
from task_server.worker.status.tally import Tally

logger: Final = logging.getLogger(__name__)

#: How a task ended, by Celery's word.
ENDS: Final = {
    states.SUCCESS: "succeeded",
    states.FAILURE: "failed",
    states.RETRY: "retried",
    states.REJECTED: "rejected",
    states.IGNORED: "rejected",
}

#: Where the start of a task is kept meanwhile, in its request, if it is heard of by signals.
STARTED: Final = "task_server_started"


class Finished:
    """What has ended in this process, and in its children."""

    def __init__(self) -> None:
        self._own: Tally | None = None
        self._next: Tally | None = None
        self._children: list[tuple[Any, Tally]] = []
        self._names = QueueNames()
        self._main = os.getpid()
        self._app: Any = None
        self._running: set[str] = set()
        self._wrapped: dict[str, Any] = {}
        self._heard: set[str] = set()

    def install(self, app: Any) -> None:
        """Add up what ends of the tasks of *app*, from the call of `watch` on."""
        self._own, self._app = Tally.own(), app

    def watch(self) -> None:
        """Add up what ends in this process from now on; Celery has just set up its tasks."""
        for name, task in list(self._app.tasks.items()) if self._own is not None else ():
            if task.Strategy != Task.Strategy:
                self._hear(name, task)
            elif task.__trace__ is not None and task.__trace__ is not self._wrapped.get(name):
                self._wrapped[name] = self._adding(task, task.__trace__)
                patch(task, "__trace__", self._wrapped[name])

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
        self.watch()

    def in_fork(self) -> None:
        """Add up nothing: this process was forked by a task, or is not a child yet."""
        self._own = None

    def add(self, task: Any, request: Any, end: str, run: float | None) -> None:
        """Add the end of a *task* that others ended, after *run* seconds, if that is known."""
        # One that is being run here is added when it ends.
        if self._own is not None and getattr(request, "id", None) not in self._running:
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

    def _adding(self, task: Any, trace: Callable[..., Any]) -> Callable[..., Any]:
        """Return *trace*, Celery's function that runs *task*, which adds each run."""
        running = self._running

        def run(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
            start = monotonic()
            running.add(uuid)
            try:
                result = trace(uuid, args, kwargs, request)
            finally:
                running.discard(uuid)
            _, info, seconds, _ = result
            # Without either it has run before: Celery looked for its result, and did nothing.
            if info is not None or seconds is not None:
                state = states.SUCCESS if info is None else info.state
                seconds = monotonic() - start if seconds is None else seconds
                self._ended(task, request or {}, state, seconds)
            return result

        return run

    def _hear(self, name: str, task: Any) -> None:
        """Hear of *task* by signals: its own strategy may run it in its own way, as batches are."""
        if name not in self._heard:
            self._heard.add(name)
            signals.task_prerun.connect(self._starts, sender=task, weak=False, dispatch_uid=name)
            signals.task_postrun.connect(self._ends, sender=task, weak=False, dispatch_uid=name)

    def _starts(self, task: Any, **_: Any) -> None:
        # What the property `request` returns, with less to do.
        request = task.request_stack.top
        if not request.is_eager:
            request.__dict__[STARTED] = monotonic()
            self._running.add(request.id)

    def _ends(self, task: Any, state: Any, **_: Any) -> None:
        values = task.request_stack.top.__dict__
        started = values.pop(STARTED, None)
        if started is not None:
            self._running.discard(values.get("id"))
            self._ended(task, values, state, monotonic() - started)

    def _ended(self, task: Any, request: Mapping[str, Any], state: str, seconds: float) -> None:
        end = ENDS.get(state)
        if end is None or self._own is None:
            return
        try:
            sent, waited = sent_in(request), None
            if sent is not None:
                # A task that was delayed has waited since it was due.
                waited = max(0.0, time() - seconds - max(sent, _due(request.get("eta"))))
            queue = self._names.of(request.get("delivery_info"), task.app)
            self._own.add((task.name, queue), end, seconds, waited)
        except Exception:  # nothing that a message says may change how its task ends
            logger.exception("the end of %s is not added up", task.name)


def _due(eta: Any) -> float:
    """Return when a task with this ETA was due, in seconds since 1970; 0 if that is not known."""
    if not isinstance(eta, str):
        return 0.0
    try:
        found = datetime.fromisoformat(eta)
    except ValueError:
        return 0.0
    return found.timestamp() if found.tzinfo is not None else 0.0
