"""The signals that end a supervisor, as events in its queue."""

import signal
import threading
from types import FrameType
from typing import Any

from task_server.local.supervisor.process import Events, Signalled

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """
    Puts SIGINT, SIGTERM and SIGHUP into *events* between `install` and `restore`.

    Only in the main thread, where Python lets handlers be set, and if *enabled*.
    """

    def __init__(self, events: Events, *, enabled: bool) -> None:
        self._events = events
        self._enabled = enabled and threading.current_thread() is threading.main_thread()
        self._former: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Replace the handlers of the process."""
        if not self._enabled:
            return
        for number in STOP_SIGNALS:
            # Ignored is inherited from nohup or a background shell: keep it.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._former[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        """Give the process its former handlers back."""
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        # SimpleQueue.put may be called here even while the main thread is in get.
        self._events.put(Signalled(number))
