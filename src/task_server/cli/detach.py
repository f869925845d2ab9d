"""`up --detach`: the same command in a session of its own, until everything is ready."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, MutableMapping, Sequence

DETACH_VARIABLE = "TASK_SERVER_DETACH"

#: Our word to the detached one: the descriptor on which it says that it is ready.
_READY_VARIABLE = "TASK_SERVER_READY_FD"


def start_detached(arguments: Sequence[str]) -> int:
    """
    Start `up` with *arguments* in a session of its own; return the exit code.

    It writes to this terminal until it is ready. A signal that ends this command
    before then ends it as well.
    """
    reader, writer = os.pipe()
    environ = {name: value for name, value in os.environ.items() if name != DETACH_VARIABLE}
    environ[_READY_VARIABLE] = str(writer)
    with open(reader, "rb") as ready:  # noqa: PTH123 - a descriptor
        process = subprocess.Popen(
            [sys.executable, "-m", "task_server", "up", *arguments],
            env=environ,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[writer],
        )
        os.close(writer)
        with _forwarding(process):
            if ready.read():
                # Its parent is init from here on.
                return 0
            return process.wait()


@contextlib.contextmanager
def _forwarding(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Send the signals that would end this process to *process*, and wait for its end."""

    def forward(number: int, _frame: object) -> None:
        process.send_signal(number)

    former = {
        number: signal.signal(number, forward)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def descriptor_of_ready(environ: MutableMapping[str, str]) -> int | None:
    """Return where this process, a detached `up`, says that it is ready; None for any other."""
    # Its children must not take it for theirs.
    number = environ.pop(_READY_VARIABLE, "")
    return int(number) if number.isdecimal() else None
