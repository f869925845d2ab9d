"""The signals that end beat, and a wait that they end."""

import os
import select
import signal
import time
from types import FrameType

from task_server.launch import early_stop
from task_server.worker.shutdown.signals import SelfPipe


class OverdueError(BaseException):
    """Raised in the main thread when what it does has not ended in time after a signal."""


class StopSignals:
    """
    Ends beat at the first signal when its step has ended, or after *seconds* in any case.

    Attributes:
        number: Of the signal; None as long as there was none.
    """

    def __init__(self, seconds: float) -> None:
        self.number: int | None = None
        self._seconds = seconds
        self._pipe = SelfPipe()

    def install(self) -> None:
        """Handle the signals, in the main thread."""
        for number in early_stop.STOPPING:
            early_stop.set_handler(number, self._handle)
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        if os.isatty(1) and not ignored:
            early_stop.set_handler(signal.SIGHUP, self._handle)
        signal.signal(signal.SIGALRM, _overdue)

    def wait(self, seconds: float) -> None:
        """Wait for *seconds*, or until a signal came."""
        deadline = time.monotonic() + seconds
        while self.number is None and (left := deadline - time.monotonic()) > 0:
            select.select([self._pipe.fileno()], [], [], left)

    def rearm(self, seconds: float) -> None:
        """Interrupt what follows after *seconds*."""
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def finished(self) -> None:
        """Let nothing interrupt what follows."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's shape
        if self.number is None:
            self.number = number
            # A Redis that does not answer, and Kombu's retries, take longer.
            signal.setitimer(signal.ITIMER_REAL, self._seconds)
        self._pipe.wake()


def _overdue(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's shape
    raise OverdueError
