"""
Which greenlet has the processor: told while tasks run of which a worker has died before.

A crash in C, `os._exit`, or too much memory ends the process in the greenlet
that runs. So whoever had the processor is what the process died of; and if none
had it, the loop waited, and somebody outside has ended it.
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

    def enter(self, telling: Any, tag: str) -> None:
        """Tell by *telling* when the present greenlet, the task of *tag*, is switched."""
        if not self._inside:
            self._before = greenlet.settrace(self._switched)
        self._inside[greenlet.getcurrent()] = telling, tag

    def leave(self) -> None:
        """Leave the present greenlet alone."""
        self._inside.pop(greenlet.getcurrent(), None)
        # Someone may have put a trace of theirs above this one.
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
                telling, tag = found
                telling.on_cpu(tag, on=on)
