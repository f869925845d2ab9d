"""The operating system's clock, threads and locks, under gevent too."""

import sys
import time
from collections.abc import Callable, Iterable
from time import clock_gettime
from typing import Any, Final

#: A clock that goes on while the machine is suspended.
CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> float:
    """Return the seconds of a clock that cannot be set, and that no pause stops."""
    return clock_gettime(CLOCK)


def copied(collection: Iterable[Any]) -> tuple[Any, ...]:
    """Return what is in *collection*, which another thread may change meanwhile."""
    while True:
        try:
            return tuple(collection)
        except RuntimeError:
            continue


def start_thread(run: Callable[[], None]) -> None:
    """Let a thread of the operating system *run*; it ends with the process."""
    _original("_thread", "start_new_thread")(run, ())


def new_lock() -> Any:
    """Return a lock of the operating system, for a few instructions at most."""
    return _original("_thread", "allocate_lock")()


def native_sleep() -> Callable[[float], None]:
    """Return a `sleep` that stops its own thread only."""
    sleep: Callable[[float], None] = _original("time", "sleep")
    return sleep


def _original(module: str, name: str) -> Any:
    """Return *name* of *module* as it was before gevent patched it."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(__import__(module), name)
