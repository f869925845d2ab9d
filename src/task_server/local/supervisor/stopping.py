"""The end of a stage: its signals, its time, and what is done with what is left."""

import time
from collections.abc import Callable, Sequence

from task_server.local.supervisor.process import Process

#: How long a child may take to die of SIGKILL or of its force_signal. Seconds.
_KILL_SECONDS = 5.0

#: Handles events until something is true, or until a deadline (monotonic seconds).
Pump = Callable[[Callable[[], bool], float | None], None]


class Stopping:
    """
    Stops stages; *pump* handles events meanwhile.

    Attributes:
        requests: How often the user has asked for the end since this stage's began.
    """

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self.requests = 0

    def stop(self, stage: Sequence[Process]) -> None:
        """
        Send each of *stage* its signal, wait for its stop_seconds, and kill what is left.

        A further signal of the user forces this stage alone: the servers, which stop
        after the workers, keep their own time, which is short.
        """
        self.requests = 0
        for process in stage:
            process.stop()
        started = time.monotonic()
        for process in sorted(stage, key=lambda process: process.child.stop_seconds):
            self._await_end(process, started + process.child.stop_seconds)
        alive = [process for process in stage if process.alive]
        if self._is_forced():
            for process in alive:
                process.send(process.child.force_signal)
            self._await_ends(alive)
        for process in alive:
            process.kill_group()
        # A process that survives SIGKILL hangs in the kernel; go on without it.
        self._await_ends(alive)

    def _is_forced(self) -> bool:
        return self.requests > 0

    def _await_end(self, process: Process, deadline: float) -> None:
        self._pump(lambda: not process.alive or self._is_forced(), deadline)

    def _await_ends(self, processes: Sequence[Process]) -> None:
        deadline = time.monotonic() + _KILL_SECONDS
        self._pump(lambda: not any(process.alive for process in processes), deadline)
