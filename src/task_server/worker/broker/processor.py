"""
Which greenlet is running: recorded while suspects run, which may have crashed a worker.

A crash in C, `os._exit`, or too much memory ends the process in the running
greenlet. So that greenlet crashed the process; and if none was running, the event
loop was waiting, and the process was killed from outside.
"""

from collections.abc import Callable
from typing import Any

import greenlet  # type: ignore[import-untyped, unused-ignore]

Trace = Callable[[str, Any], None]


class Processor:
    """Follows the switches between the greenlets that have entered, of one thread."""

    def __init__(self) -> None:
        self._inside: dict[Any, tuple[Any, str]] = {}
        self._before: Trace | None = None

    def enter(self, reporter: Any, tag: str) -> None:
        """Record by *reporter* when the current greenlet, the task of *tag*, is switched."""
        if not self._inside:
            self._before = greenlet.settrace(self._switched)
        self._inside[greenlet.getcurrent()] = reporter, tag

    def leave(self) -> None:
        """Stop recording the current greenlet."""
        self._inside.pop(greenlet.getcurrent(), None)
        # Another trace may have been installed above this one.
        if not self._inside and greenlet.gettrace() == self._switched:
            greenlet.settrace(self._before)
            self._before = None

    def _switched(self, event: str, switch: Any) -> None:
        if self._before is not None:
            self._before(event, switch)
        origin, target = switch
        for one, on in ((origin, False), (target, True)):
            found = self._inside.get(one)
            if found is not None:
                reporter, tag = found
                reporter.on_cpu(tag, on=on)
