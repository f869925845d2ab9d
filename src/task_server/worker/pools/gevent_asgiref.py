"""asgiref's bridges between sync and async code, in greenlets: see `gevent_asyncio`."""

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
from task_server.worker.patching import patch

logger = logging.getLogger(__name__)


class LoopExecutor(Executor):
    """
    One greenlet for each running loop, instead of asgiref's one thread for all.

    sync_to_async submits calls here when no async_to_sync waits for the loop, such as the
    ORM under `asyncio.run`. With one greenlet for all loops, tasks would wait for each
    other. The greenlet uses the database connections of the task that runs the loop: with
    its own it would need a second one, and run outside of the task's transaction.
    """

    def __init__(self, set_running_loop: Callable[[Any], None], grace: float) -> None:
        self._set_running_loop = set_running_loop
        self._grace = grace
        self._helpers: WeakKeyDictionary[Any, _Helper] = WeakKeyDictionary()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run *fn* in the greenlet of the running loop."""
        loop = asyncio.get_running_loop()
        helper = self._helpers.get(loop)
        if helper is None:
            # Django has other connections inside a running loop than outside.
            self._set_running_loop(None)
            try:
                helper = self._helpers[loop] = _Helper(self._grace)
            finally:
                self._set_running_loop(loop)
        return helper.executor.submit(fn, *args, **kwargs)

    def end(self, loop: Any) -> None:
        """End the greenlet of *loop*, which has stopped, after its pending calls."""
        helper = self._helpers.pop(loop, None)
        if helper is not None:
            helper.end()


class _Helper:
    """A greenlet that shares the database connections of the one that creates it."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._connections = _connections()
        for connection in self._connections.values():
            connection.inc_thread_sharing()
        self._greenlets: list[Any] = []
        arguments = gevent.getcurrent(), self._connections, self._greenlets
        self.executor = ThreadPoolExecutor(1, initializer=_help, initargs=arguments)

    def end(self) -> None:
        """Wait for its pending calls, at most its grace, and stop sharing the connections."""
        try:
            with gevent.Timeout(self._grace, False):
                self.executor.shutdown(wait=True)
                return
            # The caller was killed while it waited, and its task needs the connections.
            for greenlet in self._greenlets:
                greenlet.kill(timeout=self._grace)
        finally:
            for connection in self._connections.values():
                connection.dec_thread_sharing()


def install(
    sync: Any,
    set_running_loop: Callable[[Any], None],
    greenlet_of: Callable[[Any], Any],
    grace: float,
) -> Callable[[Any], None]:
    """
    Replace the executors of *sync*, a module of asgiref; return the callback for a stopped loop.

    Args:
        set_running_loop: asyncio's own.

        greenlet_of: Returns the greenlet that runs a loop, if one does.

        grace: Seconds that a cancelled coroutine has for its `finally` blocks.
    """
    executor = LoopExecutor(set_running_loop, grace)
    patch(sync.SyncToAsync, "single_thread_executor", executor)
    current: Any = sync.CurrentThreadExecutor
    run_until_future = current.run_until_future

    def run_or_cancel(self: Any, future: "Future[Any]") -> None:
        try:
            run_until_future(self, future)
        except BaseException:
            # Thrown in while the coroutine runs in another greenlet.
            executors = sync.AsyncToSync.loop_thread_executors
            loop = next((loop for loop, one in executors.items() if one is self), None)
            if loop is not None and not future.done():
                with suppress(RuntimeError):  # it has ended just now
                    loop.call_soon_threadsafe(_cancel_all, loop)
                # Its `finally` blocks may have sync code for this greenlet.
                with gevent.Timeout(grace, False):
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


def _help(task: Any, shared: dict[str, Any], helpers: list[Any]) -> None:
    """Have this greenlet, one of *helpers*, use the connections *shared* by that of *task*."""
    helpers.append(gevent.getcurrent())
    if not shared:
        return
    from django.db import connections  # noqa: PLC0415 - it is there, see above

    work_for(task)
    for alias, connection in shared.items():
        connections[alias] = connection
