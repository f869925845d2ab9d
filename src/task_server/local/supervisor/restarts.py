"""
Children that are stopped and started again while the others go on.

A restart is a drain (the child's stop signal, and its stop_seconds) and a new start.
Asked for again, it is the same restart while the old process drains, for the new one
has not yet read anything; and one more once that has started.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from task_server.local.supervisor.failures import ended, not_ready
from task_server.local.supervisor.process import Process

#: Is told how a restart ended: with None, or with what is wrong.
Done = Callable[[str | None], None]


@dataclass(eq=False)
class _Restart:
    """One that goes on. *deadline* is in monotonic seconds, None for what needs no more."""

    process: Process
    deadline: float | None = None
    #: Who waits for its end.
    waiting: list[Done] = field(default_factory=list)
    #: What is wrong, where we ended it.
    reason: str | None = None


class Restarts:
    """
    The restarts that go on, and the children whose new start failed.

    Args:
        replace: Starts a new process of a child, in the place of the old one.
    """

    def __init__(self, replace: Callable[[Process], Process]) -> None:
        self._replace = replace
        #: By child.
        self._going: dict[object, _Restart] = {}

    def begin(self, process: Process, done: Done) -> None:
        """Restart the child of *process*, its newest one; *done* is told how that ended."""
        restart = self._going.setdefault(process.child, _Restart(process))
        restart.waiting.append(done)
        if not process.alive:
            self._start(restart)
        elif not process.stopping:
            process.stop()
            restart.deadline = time.monotonic() + process.child.stop_seconds

    def is_going(self, process: Process) -> bool:
        """Return whether the child of *process* is in a restart."""
        return process.child in self._going

    def became_ready(self, process: Process) -> None:
        """*process* is ready: the end of its restart, if there is one."""
        restart = self._going.get(process.child)
        if restart is not None and restart.process is process and not process.stopping:
            self._end(restart, None)

    def exited(self, process: Process) -> bool:
        """Go on after the end of *process*; return whether that belongs to a restart."""
        restart = self._going.get(process.child)
        if restart is None or restart.process is not process:
            return False
        if process.stopping and restart.reason is None:
            self._start(restart)
        else:
            self._end(restart, restart.reason or ended(process))
        return True

    def deadline(self) -> float | None:
        """Return when `expire` has something to do next, in monotonic seconds."""
        deadlines = [one.deadline for one in self._going.values() if one.deadline is not None]
        return min(deadlines, default=None)

    def expire(self) -> None:
        """Kill what has exceeded its time."""
        now = time.monotonic()
        for restart in self._going.values():
            if restart.deadline is None or restart.deadline > now:
                continue
            restart.deadline = None
            if not restart.process.stopping:
                restart.reason = not_ready(restart.process)
            restart.process.kill_group()

    def cancel(self) -> None:
        """Begin no new process any more: all is stopped."""
        for restart in list(self._going.values()):
            self._end(restart, "task-server is stopping.")

    def _start(self, restart: _Restart) -> None:
        child = restart.process.child
        try:
            restart.process = self._replace(restart.process)
        except OSError as error:
            self._end(restart, f"{child.name} could not be started: {error}.")
            return
        restart.deadline = time.monotonic() + child.start_seconds
        if restart.process.ready:
            self._end(restart, None)

    def _end(self, restart: _Restart, error: str | None) -> None:
        del self._going[restart.process.child]
        for done in restart.waiting:
            done(error)
