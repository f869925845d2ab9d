"""
An event loop of asyncio in a greenlet, which no other greenlet sees.

asyncio keeps the running loop for each thread of the system. Under gevent all
tasks share one, so that while one of them waits in its loop, others cannot
start theirs, and Django refuses its ORM to all ("from an async context").
gevent's selectors let others run while a loop waits, so nothing else is in the
way. Here the running loop goes with the greenlet: when greenlets change, what
asyncio takes for the thread's changes too. That costs something only while a
loop runs. Tasks keep their thread-locals, context variables, connections to
PostgreSQL and time limits, which a thread of the system would not.

What is thrown into a task that waits in a loop, a time limit or a stop,
cancels what the loop runs at its next await, and then leaves the task.
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

from task_server.worker.patches import patch

logger = logging.getLogger(__name__)

#: Seconds that a coroutine which was cancelled has for its `finally` blocks.
GRACE = 2.0

# As methods of other's classes.
base: Any = base_events.BaseEventLoop
module: Any = events
package: Any = asyncio


class RunningLoops:
    """Which loop runs in which greenlet of this thread of the system."""

    def __init__(self) -> None:
        self._ident: Callable[[], int] = monkey.get_original("_thread", "get_ident")
        self._thread = self._ident()
        #: asyncio's own note.
        self.tell: Callable[[Any], None] = events._set_running_loop  # noqa: SLF001
        self._loops: dict[Any, Any] = {}
        self._tasks: dict[Any, Any] = {}
        self._over: WeakKeyDictionary[Any, Event] = WeakKeyDictionary()
        self._tracer: Any = None
        self._warned = False
        #: Called with each loop that has ended to run.
        self.ended: list[Callable[[Any], None]] = []

    def install(self) -> None:
        """Take the place of asyncio's own note of what runs."""
        patch(module, "_set_running_loop", self.set)
        patch(package, "_set_running_loop", self.set)

    def set(self, loop: Any) -> None:
        """Take note that *loop* runs in this greenlet; None, that none does any more."""
        if self._ident() != self._thread:
            self.tell(loop)
            return
        me = getcurrent()
        if loop is not None:
            if not self._loops:
                self._tracer = greenlet.settrace(self._switched)
            self._loops[me] = loop
            self.tell(loop)
            self._warn(loop)
            return
        ended = self._loops.pop(me, None)
        self._tasks.pop(me, None)
        self.tell(None)
        if not self._loops:
            greenlet.settrace(self._tracer)
        if ended is not None:
            over = self._over.pop(ended, None)
            if over is not None:
                over.set()
            for told in self.ended:
                told(ended)

    def wait_for(self, loop: Any) -> None:
        """
        Wait until *loop* does not run in another greenlet.

        A loop that a module keeps for all calls is for one after the other, as it is where a
        process runs one task at a time.
        """
        if self._ident() != self._thread or getcurrent() in self._loops:
            return
        while loop.is_running() and loop in self._loops.values():
            over = self._over.get(loop)
            if over is None:
                over = self._over[loop] = Event()
            over.wait()

    def greenlet_of(self, loop: Any) -> Any:
        """Return the greenlet that runs *loop*; None if none does."""
        return next((one for one, running in self._loops.items() if running is loop), None)

    def _switched(self, event: str, greenlets: tuple[Any, Any]) -> None:
        """Hear from greenlet that another one runs now; it may raise nothing."""
        origin, target = greenlets
        if self._tracer is not None:
            self._tracer(event, greenlets)
        if origin in self._loops:
            _put_away_task(self._tasks, origin, self._loops[origin])
            if target not in self._loops:
                self.tell(None)
        if target in self._loops:
            self.tell(self._loops[target])
            _bring_back_task(self._tasks, target, self._loops[target])

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
    # From 3.14 on the task that a loop runs is kept for each thread as well.
    from _asyncio import _swap_current_task

    def _put_away_task(tasks: dict[Any, Any], origin: Any, loop: Any) -> None:
        # It raises where asyncio's note is not ours, such as with a loop within a loop.
        with suppress(RuntimeError):
            task = _swap_current_task(loop, None)
            if task is not None:
                tasks[origin] = task

    def _bring_back_task(tasks: dict[Any, Any], target: Any, loop: Any) -> None:
        task = tasks.pop(target, None)
        if task is not None:
            with suppress(RuntimeError):
                _swap_current_task(loop, task)

else:

    def _put_away_task(tasks: dict[Any, Any], origin: Any, loop: Any) -> None:
        """Do nothing: each loop has its own."""

    def _bring_back_task(tasks: dict[Any, Any], target: Any, loop: Any) -> None:
        """Do nothing: each loop has its own."""


def install() -> None:
    """
    Let each greenlet of this thread of the system have its own running loop.

    Call it once, in the thread of gevent's hub, after gevent's patching.
    """
    loops = RunningLoops()
    loops.install()
    check_running, run_until_complete = base._check_running, base.run_until_complete  # noqa: SLF001
    # What was thrown into a task whose coroutine did not end: its loop is of no more use.
    thrown: WeakKeyDictionary[Any, BaseException] = WeakKeyDictionary()

    def _check_running(self: Any) -> None:
        loops.wait_for(self)
        check_running(self)

    def run_and_cancel(self: Any, future: Any) -> Any:
        self._check_closed()
        loops.wait_for(self)
        if self in thrown:
            # asyncio.run waits for all coroutines of the loop, without a bound.
            raise thrown[self]
        is_new = not asyncio.isfuture(future)
        future = asyncio.ensure_future(future, loop=self)
        if is_new:
            future._log_destroy_pending = False  # noqa: SLF001 - as asyncio does for its own
        try:
            return run_until_complete(self, future)
        except BaseException as error:
            if not (future.done() or _finish(self, future, run_until_complete)):
                thrown[self] = error
            raise

    patch(base, "_check_running", _check_running)
    patch(base, "run_until_complete", run_and_cancel)
    _install_in_asgiref(loops)


def _finish(loop: Any, future: Any, run_until_complete: Callable[..., Any]) -> bool:
    """Cancel *future*, and run *loop* until it has ended, `GRACE` at most; tell whether it has."""
    if loop.is_closed() or loop.is_running():
        return True
    future.cancel()
    with gevent.Timeout(GRACE, False):
        try:
            run_until_complete(loop, future)
        except asyncio.CancelledError:
            pass
        except Exception:
            logger.exception("a coroutine that was cancelled failed")
    if not future.done():
        logger.error("%r goes on though it was cancelled; it is left where it waits", future)
    return bool(future.done())


def _install_in_asgiref(loops: RunningLoops) -> None:
    """Do the same for async_to_sync and sync_to_async, if asgiref is there."""
    try:
        from asgiref import sync  # noqa: PLC0415 - it comes with Django
    except ImportError:
        return
    from task_server.worker.pools import gevent_asgiref  # noqa: PLC0415

    loops.ended.append(gevent_asgiref.install(sync, loops.tell, loops.greenlet_of))
