"""Waiting for what sends no event."""

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")

#: Seconds that an event may take on a machine that is busy; who waits for it says nothing of them.
PATIENCE = 120.0


def until(
    fact: Callable[[], T], what: str = "", seconds: float = PATIENCE, pause: float = 0.05
) -> T:
    """
    Wait until *fact* holds; return what it returned.

    Args:
        what: What is waited for, for the message when it does not come.

        pause: Seconds between two attempts.
    """
    end, sleep = time.monotonic() + seconds, Event()
    while not (value := fact()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what or fact}"
        sleep.wait(pause)
    return value


def holds_within(fact: Callable[[], object], seconds: float) -> bool:
    """Wait until *fact* holds; return whether it did."""
    try:
        until(fact, "", seconds)
    except AssertionError:
        return False
    return True
