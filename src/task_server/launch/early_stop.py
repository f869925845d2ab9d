"""
The signals to stop, from the launcher's first line until the worker has its own way.

Without a handler a signal is lost on PID 1 of a container, and ends any other process
with a code that tells of a crash. So the launcher has handlers, holds back what comes
while it becomes the worker, and the worker has the same handlers until its event loop
takes over. Who is asked to stop here has taken no task: it ends at once, with 0.

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

#: They end a process that has no handler, and want nothing of one that starts.
OTHERS = (signal.SIGUSR1, signal.SIGUSR2)

ALL = (*STOPPING, signal.SIGHUP, *OTHERS)

#: Called before a process that has taken no task ends.
_farewells: list[Callable[[], None]] = []

#: Called at the very end of the process, in the place of its end.
_after: list[Callable[[], None]] = []

_handled: dict[int, Any] = {}


def watch() -> None:
    """Take over the signals, in the main thread of a process that starts; see `leave`."""
    main = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's shape
        if os.getpid() == main:
            leave(number)

    for number in STOPPING:
        handled(number, handle)
    for number in OTHERS:
        handled(number, _nothing)
    # nohup has it ignored. Without a terminal it asks for a start anew, which this is.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handled(signal.SIGHUP, handle if os.isatty(1) else _nothing)


def handled(number: int, handler: Callable[[int, FrameType | None], None]) -> None:
    """Set *handler*, which a process that is forked from this one does not keep."""
    _handled[number] = handler
    signal.signal(number, handler)


def leave(number: int) -> None:
    """End this process, which has taken no task, because of the signal *number*."""
    name = signal.Signals(number).name
    # Whatever is being imported may catch an exception, and hold the lock of a stream.
    with suppress(OSError):
        os.write(2, f"task-server: {name} before any task was taken: it ends\n".encode())
    for farewell in _farewells:
        with suppress(Exception):
            farewell()
    os._exit(os.EX_OK)


def before_leaving(farewell: Callable[[], None]) -> None:
    """Have *farewell* called when the process leaves; it may not wait for anything."""
    _farewells.append(farewell)


def hold() -> None:
    """Hold the signals back, over the exec(2) that follows, until `release`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ALL)


def release() -> None:
    """Let come what was held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL)


def end_in_peace() -> None:
    """
    Let no signal change how this process ends; call it before anything else registers.

    The interpreter takes the handlers away while it ends, and a second SIGTERM in that
    moment would be told as a crash.
    """
    atexit.register(_last, os.getpid())


def at_the_end(act: Callable[[], None]) -> None:
    """Have *act* called, once, in the place of the process's end, if it ends by itself."""
    _after[:] = [act]


def not_at_the_end() -> None:
    """Take back `at_the_end`."""
    _after.clear()


def _last(main: int) -> None:
    if os.getpid() != main:
        return
    for act in _after:
        act()
    for number in ALL:
        signal.signal(number, signal.SIG_IGN)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass


#: Whether the process that is being forked keeps the handlers; see `worker.children`.
keep_over_fork = [False]


def _let_go() -> None:
    """Give a forked process what it would have without us: it ends when it is told to."""
    if keep_over_fork[0]:
        keep_over_fork[0] = False
        return
    for number, handler in _handled.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, signal.SIG_DFL)
    _handled.clear()
    _after.clear()


os.register_at_fork(after_in_child=_let_go)
