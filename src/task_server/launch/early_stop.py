"""
The signals to stop, from the launcher's first line until the worker's own handlers.

Without a handler a signal is lost on PID 1 of a container, and ends any other process
with a code that means a crash. So the launcher has handlers, blocks the signals while
it becomes the worker, and the worker has the same handlers until its event loop takes
over. A process that is stopped here has taken no task: it exits at once, with 0.

The start of the interpreter before the first line, some 20 ms, cannot be covered.
"""

import atexit
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

#: SIGTERM: docker stop, systemd, Swarm. SIGINT: Ctrl-C. SIGQUIT: hurry at once.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

#: They end a process without a handler, and mean nothing to one that starts.
IGNORED = (signal.SIGUSR1, signal.SIGUSR2)

ALL = (*STOPPING, signal.SIGHUP, *IGNORED)

#: Called before a process that has taken no task ends.
_before_exit: list[Callable[[], None]] = []

#: Called at the very end of the process, instead of its exit.
_instead: list[Callable[[], None]] = []

_handled: dict[int, Any] = {}


def install() -> None:
    """Take over the signals, in the main thread of a process that starts; see `exit_early`."""
    main = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's shape
        if os.getpid() == main:
            exit_early(number)

    for number in STOPPING:
        set_handler(number, handle)
    for number in IGNORED:
        set_handler(number, _nothing)
    # nohup ignores it. Without a terminal it asks for a restart, and this is a start.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        set_handler(signal.SIGHUP, handle if os.isatty(1) else _nothing)


def set_handler(number: int, handler: Callable[[int, FrameType | None], None]) -> None:
    """Set *handler*, which a process that is forked from this one does not keep."""
    _handled[number] = handler
    signal.signal(number, handler)


def exit_early(number: int) -> None:
    """End this process, which has taken no task, because of the signal *number*."""
    name = signal.Signals(number).name
    # Whatever is being imported may catch an exception, or have a stream locked.
    with suppress(OSError):
        os.write(2, f"task-server: {name} before any task was taken: it ends\n".encode())
    for call in _before_exit:
        with suppress(Exception):
            call()
    os._exit(os.EX_OK)


def before_early_exit(call: Callable[[], None]) -> None:
    """Call *call* when the process exits; it must not block."""
    _before_exit.append(call)


def block() -> None:
    """Block the signals, over the exec(2) that follows, until `unblock`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ALL)


def unblock() -> None:
    """Deliver the signals that were blocked."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL)


def ignore_signals_at_exit() -> None:
    """
    Let no signal change how this process ends; call it before anything else registers.

    The interpreter removes the handlers while it exits, and a second SIGTERM in that
    moment would look like a crash.
    """
    atexit.register(_finish, os.getpid())


def instead_of_exit(act: Callable[[], None]) -> None:
    """Have *act* called, once, instead of the exit, if the process exits normally."""
    _instead[:] = [act]


def cancel_instead_of_exit() -> None:
    """Take back `instead_of_exit`."""
    _instead.clear()


def _finish(main: int) -> None:
    if os.getpid() != main:
        return
    for act in _instead:
        act()
    for number in ALL:
        signal.signal(number, signal.SIG_IGN)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass


#: Whether the process that is being forked keeps the handlers; see `worker.children`.
keep_handlers_over_fork = [False]


def _reset_after_fork() -> None:
    """Reset the signals in a forked process, which then ends on SIGTERM as any other."""
    if keep_handlers_over_fork[0]:
        keep_handlers_over_fork[0] = False
        return
    for number, handler in _handled.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, signal.SIG_DFL)
    _handled.clear()
    _instead.clear()


os.register_at_fork(after_in_child=_reset_after_fork)
