"""Waiting for what sends no event."""

import time
from collections.abc import Callable
from threading import Event
from typing import Any


def until(fact: Callable[[], Any], what: str, seconds: float = 60) -> None:
    """Wait until *fact* holds, of something that sends no event."""
    end, pause = time.monotonic() + seconds, Event()
    while not fact():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        pause.wait(0.05)


def holds_within(fact: Callable[[], Any], seconds: float) -> bool:
    """Wait until *fact* holds; return whether it did."""
    try:
        until(fact, "", seconds)
    except AssertionError:
        return False
    return True
