"""
The processes of the prefork pool: they live and die with the main process.

A task runs in a child; only the main process, which knows what is acknowledged and
what must be requeued, decides whether it may continue.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from billiard import common as billiard_common
from billiard import pool as billiard_pool
from billiard import popen_fork as billiard_popen
from celery import signals

from task_server.launch import early_stop
from task_server.worker.patching import patch
from task_server.worker.status.finished import Finished

common: Any = billiard_common
pool: Any = billiard_pool
popen: Any = billiard_popen

PR_SET_PDEATHSIG = 1

#: What undoes `ignore_sigterm` in a process that a task forks.
_undo: list[Callable[[], None]] = []


def install(finished: Finished) -> None:
    """
    Prepare the main process before it forks; the children inherit what is set here.

    Args:
        finished: Adds up what ends in this process, and in each child.
    """
    # A SIGTERM for the process group (kill -- -PGID, systemd's control-group
    # mode) would end the running tasks in the children, although the main
    # process lets them finish. So children ignore SIGTERM, and the main process
    # ends them with SIGQUIT, which billiard handles in the same way.
    patch(pool, "TERM_SIGNAL", signal.SIGQUIT)
    patch(popen, "TERM_SIGNAL", signal.SIGQUIT)
    main = os.getpid()
    launch = popen.Popen._launch  # noqa: SLF001

    def launch_child(self: Any, process: Any) -> None:
        # Until its own set-up a child leaves signals to the main process.
        early_stop.keep_handlers_over_fork[0] = os.getpid() == main
        try:
            with finished.of_child(self):
                launch(self, process)
        finally:
            early_stop.keep_handlers_over_fork[0] = False

    patch(popen.Popen, "_launch", launch_child)

    def set_up(**_: Any) -> None:
        set_parent_death_signal(main)
        ignore_sigterm()
        finished.in_child()

    os.register_at_fork(after_in_child=finished.in_fork)
    signals.worker_process_init.connect(set_up, weak=False)


def wrap_pool(task_pool: Any) -> None:
    """Let `revoke(terminate=True)` reach the children of *task_pool*, which ignore SIGTERM."""
    terminate_job = task_pool.terminate_job

    def terminate(pid: int, number: int | None = None) -> None:
        terminate_job(pid, signal.SIGQUIT if number in (None, signal.SIGTERM) else number)

    patch(task_pool, "terminate_job", terminate)


def set_parent_death_signal(main: int) -> None:
    """
    Have the kernel kill this process when its parent, the process *main*, dies.

    A child that goes on after a `kill -9` of the main process runs a task that
    another worker gets once more.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # It may have died before the call.
    if os.getppid() != main:
        os._exit(1)


def ignore_sigterm() -> None:
    """Ignore SIGTERM in this child from now on; not in the processes that its tasks start."""
    reset = pool.reset_signals

    def reset_and_ignore(*args: Any, **kwargs: Any) -> None:
        reset(*args, **kwargs)
        # A handler, not SIG_IGN: that would be inherited by every program
        # that a task starts, and could not be terminated any more.
        signal.signal(signal.SIGTERM, _ignore)

    # billiard sets its own handlers after the signal worker_process_init.
    patch(pool, "reset_signals", reset_and_ignore)
    # What ends the processes that a task starts through billiard.
    popen.TERM_SIGNAL = signal.SIGTERM

    def undo() -> None:
        pool.reset_signals = reset
        pool.TERM_SIGNAL = signal.SIGTERM
        if signal.getsignal(signal.SIGTERM) is _ignore:
            # What a child of plain Celery has, and its own children inherit.
            signal.signal(signal.SIGTERM, common._shutdown_cleanup)  # noqa: SLF001

    _undo[:] = [undo]


def _undo_in_forks() -> None:
    """
    Let a process that a task forked end at SIGTERM.

    `multiprocessing` sends SIGTERM, and a Pool of it waits for its processes to end.
    """
    for undo in _undo:
        undo()
    _undo.clear()


os.register_at_fork(after_in_child=_undo_in_forks)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
