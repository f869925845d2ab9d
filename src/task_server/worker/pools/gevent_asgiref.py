"""asgiref's bridges between sync and async code, in greenlets: see `asyncio_gevent`."""

import asyncio
import logging
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import gevent

from task_server.worker.database.requester import work_for
from task_server.worker.patches import patch

logger = logging.getLogger(__name__)

#: Seconds that a coroutine which was cancelled has for its `finally` blocks.
GRACE = 2.0


class LoopExecutor(Executor):
    """
    One greenlet for each loop that runs, in the place of asgiref's one thread for all.

    sync_to_async sends there what a loop calls that nobody waits for in sync code, such as
    the ORM in `asyncio.run`. With one for all, tasks would wait for each other. It works on
    the database connections of the task whose loop it is: with others, tasks that hold one
    would wait for one more, and it would be outside of the task's transaction.
    """

    def __init__(self, tell: Callable[[Any], None]) -> None:
        self._tell = tell
        self._helpers: WeakKeyDictionary[Any, _Helper] = WeakKeyDictionary()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run *fn* for the loop that runs."""
        loop = asyncio.get_running_loop()
        helper = self._helpers.get(loop)
        if helper is None:
            # In a loop Django has other connections than around it.
            self._tell(None)
            try:
                helper = self._helpers[loop] = _Helper()
            finally:
                self._tell(loop)
        return helper.executor.submit(fn, *args, **kwargs)

    def end(self, loop: Any) -> None:
        """End the greenlet of *loop*, which has ended to run, and wait for what it does."""
        helper = self._helpers.pop(loop, None)
        if helper is not None:
            helper.end()


class _Helper:
    """A greenlet that works on the database connections of the one that makes this."""

    def __init__(self) -> None:
        self._connections = _connections()
        for connection in self._connections.values():
            connection.inc_thread_sharing()
        self._greenlets: list[Any] = []
        mine = gevent.getcurrent(), self._connections, self._greenlets
        self.executor = ThreadPoolExecutor(1, initializer=_help, initargs=mine)

    def end(self) -> None:
        """Wait until it has done its work, `GRACE` at most, and give the connections back."""
        try:
            with gevent.Timeout(GRACE, False):
                self.executor.shutdown(wait=True)
                return
            # Whoever waited for it is gone, and wants the connections.
            for greenlet in self._greenlets:
                greenlet.kill(timeout=GRACE)
        finally:
            for connection in self._connections.values():
                connection.dec_thread_sharing()


def install(
    sync: Any, tell: Callable[[Any], None], greenlet_of: Callable[[Any], Any]
) -> Callable[[Any], None]:
    """
    Take the place of *sync*'s (asgiref's) executors; return what hears of a loop's end.

    Args:
        tell: asyncio's own note of the loop that runs.

        greenlet_of: Returns the greenlet that runs a loop, if one does.
    """
    executor = LoopExecutor(tell)
    patch(sync.SyncToAsync, "single_thread_executor", executor)
    current: Any = sync.CurrentThreadExecutor
    run_until_future = current.run_until_future

    def run_or_cancel(self: Any, future: "Future[Any]") -> None:
        try:
            run_until_future(self, future)
        except BaseException:
            # Thrown in from outside, while the coroutine runs in another greenlet.
            executors = sync.AsyncToSync.loop_thread_executors
            loop = next((loop for loop, one in executors.items() if one is self), None)
            if loop is not None and not future.done():
                with suppress(RuntimeError):  # it has ended just now
                    loop.call_soon_threadsafe(_cancel_all, loop)
                # Its `finally` blocks may have sync code for this greenlet.
                with gevent.Timeout(GRACE, False):
                    run_until_future(self, future)
                if not future.done() and (greenlet := greenlet_of(loop)) is not None:
                    greenlet.kill(block=False)
            raise

    patch(current, "run_until_future", run_or_cancel)
    return executor.end


def _cancel_all(loop: Any) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


def _connections() -> dict[str, Any]:
    """Return this greenlet's connections of Django, by alias; none where there is no Django."""
    if "django.db" not in sys.modules:
        return {}
    from django.conf import settings  # noqa: PLC0415 - only where the project has it
    from django.db import connections  # noqa: PLC0415

    return {alias: connections[alias] for alias in connections} if settings.configured else {}


def _help(whom: Any, given: dict[str, Any], helpers: list[Any]) -> None:
    """Let this greenlet, one of *helpers*, work on the connections *given* of *whom*."""
    helpers.append(gevent.getcurrent())
    if not given:
        return
    from django.db import connections  # noqa: PLC0415 - it is there, see above

    work_for(whom)
    for alias, connection in given.items():
        connections[alias] = connection
