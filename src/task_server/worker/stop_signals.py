"""
The signals that stop a worker, brought into the worker's own loop.

A handler runs between any two instructions, under gevent even inside the hub,
where whatever waits raises BlockingSwitchOutError and the rest of the stop is
skipped. So a handler only writes a byte to a pipe; the loop reads it.
"""

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType

#: SIGTERM: docker stop, systemd, Swarm. SIGINT: Ctrl-C. SIGQUIT: hurry at once.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class WakePipe:
    """A pipe that is readable once `wake` was called, until `clear`; neither waits."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return the end that becomes readable."""
        return self._reader

    def wake(self) -> None:
        """Make the pipe readable; it may be called in a signal handler."""
        # A full pipe is readable already.
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"\0")

    def clear(self) -> None:
        """Read the pipe empty."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)


def install(notice: Callable[[int], None]) -> None:
    """
    Have *notice* called with the number of each signal to stop.

    It runs inside the handler and must not wait for anything. Celery installs
    handlers of its own when the worker starts; call this afterwards.
    """
    main = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's shape
        # A pool child has this handler between its fork and its own set-up.
        if os.getpid() == main:
            notice(number)

    for number in STOPPING:
        signal.signal(number, handle)
