"""asgiref's bridges between sync and async code, in greenlets: see `asyncio_gevent`."""

import asyncio
import logging
import sys
from asyncio import base_events
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import gevent

logger = logging.getLogger(__name__)

#: Seconds that a coroutine which was cancelled has for its `finally` blocks.
GRACE = 2.0


class LoopExecutor(Executor):
    """
    One greenlet for each loop, in the place of asgiref's one thread for all.

    sync_to_async sends there what a loop calls that nobody waits for in sync code, such as
    the ORM in `asyncio.run`. With one for all, tasks would wait for each other, on one
    connection to the database that is never closed.
    """

    def __init__(self) -> None:
        self._executors: WeakKeyDictionary[Any, ThreadPoolExecutor] = WeakKeyDictionary()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run *fn* for the loop that runs."""
        loop = asyncio.get_running_loop()
        executor = self._executors.get(loop)
        if executor is None:
            executor = self._executors[loop] = ThreadPoolExecutor(max_workers=1)
        return executor.submit(fn, *args, **kwargs)

    def rest(self, loop: Any) -> None:
        """Give back the connections to databases of *loop*, which does not run now."""
        executor = self._executors.get(loop)
        if executor is not None:
            executor.submit(_close_connections)

    def end(self, loop: Any) -> None:
        """End the greenlet of *loop*, which is closed."""
        executor = self._executors.pop(loop, None)
        if executor is not None:
            executor.shutdown(wait=False)


def install(sync: Any) -> Callable[[Any], None]:
    """Take the place of *sync*'s (asgiref's) executors; return what hears of a loop's end."""
    executor = LoopExecutor()
    sync.SyncToAsync.single_thread_executor = executor
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
            raise

    current.run_until_future = run_or_cancel
    loop_class: Any = base_events.BaseEventLoop
    close = loop_class.close

    def close_both(self: Any) -> None:
        executor.end(self)
        close(self)

    loop_class.close = close_both
    return executor.rest


def _cancel_all(loop: Any) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


def _close_connections() -> None:
    if "django.db" in sys.modules:
        from django.db import connections  # noqa: PLC0415 - only where the project has it

        connections.close_all()
