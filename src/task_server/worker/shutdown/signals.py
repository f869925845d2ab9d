"""
Brings the signals that stop a worker into the worker's event loop (the self-pipe trick).

A handler runs between any two instructions, under gevent even inside the hub,
where waiting raises BlockingSwitchOutError and the rest of the stop is skipped.
So a handler only writes a byte to a pipe; the loop reads it.
"""

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from celery.apps import worker as celery_worker

from task_server.launch import early_stop, restart
from task_server.worker.patching import patch


class SelfPipe:
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


def install_handlers(callback: Callable[[int], None]) -> None:
    """
    Call *callback* with the number of each signal that stops or restarts the worker.

    It runs inside the handler and must not wait. Celery installs
    handlers of its own when the worker starts; see `replace_celerys`.
    """
    main = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's shape
        # A pool child has this handler between its fork and its own set-up.
        if os.getpid() == main:
            callback(number)

    for number in early_stop.STOPPING:
        early_stop.set_handler(number, handle)
    # nohup ignores it; without a terminal it restarts the worker, as in Celery, whose
    # handler stays where the worker was started by Celery's own command.
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    if restarts() or (restart.possible() and not ignored):
        early_stop.set_handler(signal.SIGHUP, handle)


def restarts() -> bool:
    """Whether SIGHUP restarts the worker; on a terminal it means that the terminal is gone."""
    return restart.possible() and not os.isatty(1)


def replace_celerys(take_over: Callable[[Any], None]) -> None:
    """
    Call *take_over* with the worker where Celery installs its own signal handlers.

    Celery's cold shutdown fails before there is a consumer, and its restart runs
    another program than the one that was started. SIGUSR1 and SIGUSR2 stay Celery's.
    """
    celerys: Any = celery_worker
    patch(celerys, "install_worker_term_handler", take_over)
    patch(celerys, "install_worker_term_hard_handler", _leave_it)
    patch(celerys, "install_worker_int_handler", _leave_it)
    if restart.possible():
        patch(celerys, "install_worker_restart_handler", _leave_it)


def _leave_it(*_: Any, **__: Any) -> None:
    pass
