"""Calls from other OS threads into the thread of gevent's loop."""

from collections.abc import Callable
from typing import Any, TypeVar

import gevent
from gevent import monkey

T = TypeVar("T")

#: OS threads and their locks, which gevent replaces.
_thread_ident = monkey.get_original("_thread", "get_ident")
_allocate_lock = monkey.get_original("_thread", "allocate_lock")


class LoopThread:
    """The thread of gevent's loop: the one that makes this."""

    def __init__(self) -> None:
        self._loop = gevent.get_hub().loop
        self._ident = _thread_ident()

    def is_current(self) -> bool:
        """Whether the caller runs in this thread."""
        return bool(_thread_ident() == self._ident)

    def call_soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Have the loop call *function*, which must not wait; safe anywhere."""
        self._loop.run_callback_threadsafe(function, *args)

    def run(self, function: Callable[..., T], *args: Any) -> T:
        """Run *function* in a greenlet of this thread, while the calling thread waits."""
        done = _allocate_lock()
        done.acquire()
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(function(*args))
            except BaseException as error:  # noqa: BLE001 the calling thread raises it
                errors.append(error)
            finally:
                done.release()

        self.call_soon(gevent.spawn, run)
        done.acquire()
        if errors:
            raise errors[0]
        return results[0]
