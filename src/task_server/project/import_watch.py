"""
The import of a project that hangs: noticed, and named with its line.

Imports no package but this one, so that it can start before gevent patches the
standard library, and watch what is imported from then on.
"""

import _thread
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from task_server.errors import TaskServerError
from task_server.project.import_errors import ImportPeerError, Place, place_of


class Watch:
    """
    Notices that the import of the project *name* has not gone on for *seconds*.

    It goes on as long as new modules appear: a large project may take its time. It
    polls from a thread that gevent does not know; seconds are counted in polls, so
    that a process that was stopped (SIGSTOP, a suspended machine) is not taken for
    one that hangs.

    Args:
        on_stall: Called in that thread with the error; the default prints it and ends
            the process, since a thread that waits in C cannot be interrupted.
    """

    def __init__(
        self, name: str, seconds: float, on_stall: Callable[[ImportPeerError], None] | None = None
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._on_stall = on_stall or end
        self._main = _thread.get_ident()
        self._greenlet: Any = None
        # Made before gevent patches them, these are the system's own.
        self._stop, self._stopped = _thread.allocate_lock(), _thread.allocate_lock()
        self._stop.acquire()
        self._stopped.acquire()
        self._on = True
        _thread.start_new_thread(self._run, ())

    def patched(self) -> None:
        """Remember the greenlet that imports; call it when gevent has patched the library."""
        greenlet = sys.modules.get("greenlet")
        if greenlet is not None:
            self._greenlet = greenlet.getcurrent()

    @property
    def on(self) -> bool:
        """Whether it still watches."""
        return self._on

    def stop(self) -> None:
        """End the thread, and wait for its end: a process with threads should not fork."""
        if self._on:
            self._on = False
            self._stop.release()
            self._stopped.acquire()

    def _run(self) -> None:
        interval = min(1.0, self._seconds / 10)
        modules, still = len(sys.modules), 0
        try:
            while not self._stop.acquire(timeout=interval):
                if len(sys.modules) != modules:
                    modules, still = len(sys.modules), 0
                    continue
                still += 1
                if still * interval >= self._seconds:
                    self._on_stall(self._error())
                    still = 0
        finally:
            self._stopped.release()

    def _error(self) -> ImportPeerError:
        frames = _waiting(sys._current_frames().get(self._main))  # noqa: SLF001 - the way to see it
        place = place_of(self._name, frames)
        if self._greenlet is not None and self._greenlet.gr_frame is not None:
            # It waits in gevent's hub, whose frames say nothing.
            frames = _waiting(self._greenlet.gr_frame)
            place = place_of(self._name, frames) or place
        where = f"at {place}" if place else "before its first line"
        inner = frames[-1] if frames else None
        if inner is not None and inner != place:
            where += f" (in {inner.module or inner.file}, line {inner.line})"
        return ImportPeerError(
            f"{self._name} cannot be imported: for {self._seconds:g} s it has been {where}; start "
            "the server that it asks there, or connect when a task needs it; import_seconds "
            "(TASK_SERVER_IMPORT_SECONDS) bounds this"
        )


def end(error: TaskServerError) -> None:
    """Print *error*, and end the process from whatever thread, at once."""
    os.write(2, f"Error: {error}\n".encode())
    os._exit(error.exit_code)


@contextmanager
def bounded(
    name: str, seconds: float, on_stall: Callable[[ImportPeerError], None] | None = None
) -> Iterator[Watch]:
    """Watch the import of the project *name* that happens in here; see `Watch`."""
    watch = Watch(name, seconds, on_stall)
    try:
        yield watch
    finally:
        watch.stop()


def _waiting(frame: FrameType | None) -> list[Place]:
    """Return the frames of a stack, the innermost last."""
    found = [
        Place(one.f_code.co_filename, line, str(one.f_globals.get("__name__", "")))
        for one, line in traceback.walk_stack(frame)
    ]
    return found[::-1]
