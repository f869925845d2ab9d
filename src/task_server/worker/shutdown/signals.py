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
from typing import Any

from celery.apps import worker as celery_worker

from task_server.launch import early_stop, restart
from task_server.worker.patches import patch


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
    Have *notice* called with the number of each signal to stop, or to start anew.

    It runs inside the handler and must not wait for anything. Celery installs
    handlers of its own when the worker starts; see `instead_of_celerys`.
    """
    main = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's shape
        # A pool child has this handler between its fork and its own set-up.
        if os.getpid() == main:
            notice(number)

    for number in early_stop.STOPPING:
        early_stop.set_handler(number, handle)
    # nohup has it ignored on a terminal; elsewhere it asks for a start anew, as in Celery,
    # whose handler stays where a worker was started by Celery's own command.
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    if restarts() or (restart.possible() and not ignored):
        early_stop.set_handler(signal.SIGHUP, handle)


def restarts() -> bool:
    """Whether SIGHUP asks for a start anew; on a terminal it says that the terminal is gone."""
    return restart.possible() and not os.isatty(1)


def instead_of_celerys(install_ours: Callable[[Any], None]) -> None:
    """
    Let *install_ours* set the handlers where a worker of Celery sets its own, and gets itself.

    Celery's cold shutdown fails before there is a consumer, and its restart runs
    another program than the one that was started. SIGUSR1 and SIGUSR2 stay Celery's.
    """
    celerys: Any = celery_worker
    patch(celerys, "install_worker_term_handler", install_ours)
    patch(celerys, "install_worker_term_hard_handler", _leave_it)
    patch(celerys, "install_worker_int_handler", _leave_it)
    if restart.possible():
        patch(celerys, "install_worker_restart_handler", _leave_it)


def _leave_it(*_: Any, **__: Any) -> None:
    pass
