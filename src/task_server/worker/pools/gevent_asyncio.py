"""
A running asyncio event loop for each greenlet.

asyncio records the running loop per OS thread. Under gevent all tasks share one
thread, so that while one task waits in its loop, the others cannot start theirs,
and Django's ORM raises for all ("from an async context"). gevent's selectors
already let other greenlets run while a loop waits. Here each greenlet has its own
running loop: a switch between greenlets also switches asyncio's record. That costs
something only while a loop runs. Unlike in an OS thread, tasks keep their
thread-locals, context variables, connections to PostgreSQL and time limits.

An exception thrown into a task that waits in a loop (a time limit, a stop)
cancels what the loop runs at its next await, and then propagates.
"""

import asyncio
import logging
import sys
from asyncio import base_events, events
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import gevent
import greenlet
from gevent import getcurrent, monkey
from gevent.event import Event

from task_server.launch.timing import DEFAULT_TIMING
from task_server.worker.patching import patch

logger = logging.getLogger(__name__)

base: Any = base_events.BaseEventLoop
module: Any = events
package: Any = asyncio


class RunningLoops:
    """Which loop runs in which greenlet of this OS thread."""

    def __init__(self) -> None:
        self._ident: Callable[[], int] = monkey.get_original("_thread", "get_ident")
        self._thread = self._ident()
        #: asyncio's own `_set_running_loop`.
        self.set_in_asyncio: Callable[[Any], None] = events._set_running_loop  # noqa: SLF001
        self._loops: dict[Any, Any] = {}
        self._tasks: dict[Any, Any] = {}
        self._finished: WeakKeyDictionary[Any, Event] = WeakKeyDictionary()
        self._tracer: Any = None
        self._warned = False
        #: Called with each loop that has stopped running.
        self.on_stopped: list[Callable[[Any], None]] = []

    def install(self) -> None:
        """Replace asyncio's record of the running loop."""
        patch(module, "_set_running_loop", self.set)
        patch(package, "_set_running_loop", self.set)

    def set(self, loop: Any) -> None:
        """Record that *loop* runs in this greenlet; None, that its loop stopped."""
        if self._ident() != self._thread:
            self.set_in_asyncio(loop)
            return
        me = getcurrent()
        if loop is not None:
            if not self._loops:
                self._tracer = greenlet.settrace(self._switched)
            self._loops[me] = loop
            self.set_in_asyncio(loop)
            self._warn(loop)
            return
        stopped = self._loops.pop(me, None)
        self._tasks.pop(me, None)
        self.set_in_asyncio(None)
        if not self._loops:
            greenlet.settrace(self._tracer)
        if stopped is not None:
            finished = self._finished.pop(stopped, None)
            if finished is not None:
                finished.set()
            for callback in self.on_stopped:
                callback(stopped)

    def wait_for(self, loop: Any) -> None:
        """
        Wait until *loop* does not run in another greenlet.

        Tasks that share a loop of their module run in it one after the other, as in a process
        that runs one task at a time.
        """
        if self._ident() != self._thread or getcurrent() in self._loops:
            return
        while loop.is_running() and loop in self._loops.values():
            finished = self._finished.get(loop)
            if finished is None:
                finished = self._finished[loop] = Event()
            finished.wait()

    def greenlet_of(self, loop: Any) -> Any:
        """Return the greenlet that runs *loop*; None if none does."""
        return next((one for one, running in self._loops.items() if running is loop), None)

    def _switched(self, event: str, greenlets: tuple[Any, Any]) -> None:
        """Follow a switch of greenlets; a tracer of greenlet's that raises is removed."""
        origin, target = greenlets
        if self._tracer is not None:
            self._tracer(event, greenlets)
        if origin in self._loops:
            _save_task(self._tasks, origin, self._loops[origin])
            if target not in self._loops:
                self.set_in_asyncio(None)
        if target in self._loops:
            self.set_in_asyncio(self._loops[target])
            _restore_task(self._tasks, target, self._loops[target])

    def _warn(self, loop: Any) -> None:
        if not self._warned and not isinstance(loop, base):
            self._warned = True
            logger.warning(
                "%s.%s waits outside gevent: while one task is in it, no other runs; leave "
                "asyncio's own event loop in gevent workers",
                type(loop).__module__,
                type(loop).__name__,
            )


if sys.version_info >= (3, 14):
    # Since 3.14 asyncio records the current task per OS thread as well.
    from _asyncio import _swap_current_task

    def _save_task(tasks: dict[Any, Any], origin: Any, loop: Any) -> None:
        # It raises where asyncio's current task is not ours, such as in a nested loop.
        with suppress(RuntimeError):
            task = _swap_current_task(loop, None)
            if task is not None:
                tasks[origin] = task

    def _restore_task(tasks: dict[Any, Any], target: Any, loop: Any) -> None:
        task = tasks.pop(target, None)
        if task is not None:
            with suppress(RuntimeError):
                _swap_current_task(loop, task)

else:

    def _save_task(tasks: dict[Any, Any], origin: Any, loop: Any) -> None:
        """Do nothing: asyncio records the task per loop."""

    def _restore_task(tasks: dict[Any, Any], target: Any, loop: Any) -> None:
        """Do nothing: asyncio records the task per loop."""


def install(grace: float = DEFAULT_TIMING.cancel_grace) -> None:
    """
    Give each greenlet of this OS thread its own running loop.

    Call it once, in the thread of gevent's hub, after gevent's patching.

    Args:
        grace: Seconds that a cancelled coroutine has for its `finally` blocks.
    """
    loops = RunningLoops()
    loops.install()
    check_running, run_until_complete = base._check_running, base.run_until_complete  # noqa: SLF001
    # By loop: what was thrown into a task whose coroutine did not end; the loop is unusable.
    thrown: WeakKeyDictionary[Any, BaseException] = WeakKeyDictionary()

    def _check_running(self: Any) -> None:
        loops.wait_for(self)
        check_running(self)

    def run_and_cancel(self: Any, future: Any) -> Any:
        self._check_closed()
        loops.wait_for(self)
        if self in thrown:
            # asyncio.run waits for all coroutines of the loop, without a timeout.
            raise thrown[self]
        is_new = not asyncio.isfuture(future)
        future = asyncio.ensure_future(future, loop=self)
        if is_new:
            future._log_destroy_pending = False  # noqa: SLF001 - as asyncio does for its own
        try:
            return run_until_complete(self, future)
        except BaseException as error:
            if not (future.done() or _finish(self, future, run_until_complete, grace)):
                thrown[self] = error
            raise

    patch(base, "_check_running", _check_running)
    patch(base, "run_until_complete", run_and_cancel)
    _install_in_asgiref(loops, grace)


def _finish(loop: Any, future: Any, run_until_complete: Callable[..., Any], grace: float) -> bool:
    """Cancel *future*, run *loop* until it is done, at most *grace*; return whether it is."""
    if loop.is_closed() or loop.is_running():
        return True
    future.cancel()
    with gevent.Timeout(grace, False):
        try:
            run_until_complete(loop, future)
        except asyncio.CancelledError:
            pass
        except Exception:
            logger.exception("a cancelled coroutine failed")
    if not future.done():
        logger.error("%r ignores its cancellation and is abandoned", future)
    return bool(future.done())


def _install_in_asgiref(loops: RunningLoops, grace: float) -> None:
    """Do the same for async_to_sync and sync_to_async, if asgiref is there."""
    try:
        from asgiref import sync  # noqa: PLC0415 - it comes with Django
    except ImportError:
        return
    from task_server.worker.pools import gevent_asgiref  # noqa: PLC0415

    end = gevent_asgiref.install(sync, loops.set_in_asyncio, loops.greenlet_of, grace)
    loops.on_stopped.append(end)
