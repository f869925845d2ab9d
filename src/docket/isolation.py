"""Work on hostile files, in a process of its own: bounded in time and memory."""

import ctypes
import os
import pickle
import resource
import select
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TypeVar

from docket.states import DocumentError, State

Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1
_CHUNK = 1024**2

#: Signals whose handlers are those of a worker.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1)


def run_apart(work: Callable[[], Result], *, seconds: float, memory: int) -> Result:
    """
    Return what *work* returns, which runs in a forked process.

    A parser written in C can be made to take any time and any memory, and to
    crash. What it does to the forked process is an answer about the document;
    the worker's own process goes on.

    Args:
        work: Its result, and what it raises, must be picklable.

        seconds: After these the process is killed.

        memory: Bytes of address space beside those that it begins with.

    Raises:
        DocumentError: If it takes too long or too much, or crashes.
        Exception: What *work* raises.
    """
    reader, writer = os.pipe()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        # Python 3.12 warns of other threads; the child takes no lock of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        parent, pid = os.getpid(), os.fork()
    if pid == 0:
        os.close(reader)
        _work(work, writer, parent, memory)
    os.close(writer)
    try:
        answer = _read(reader, seconds)
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
    if answer:
        # The child has the rights of this process: no border is crossed here.
        error: Exception | None
        result: Result
        error, result = pickle.loads(answer)  # noqa: S301
        if error is not None:
            raise error
        return result
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    # An allocation that is refused asks for several times what there is already.
    if (usage.ru_maxrss - before) * 1024 > memory // 4:
        raise _too_large(memory)
    raise DocumentError(State.BROKEN, f"it crashes its reader ({ended})")


def _read(reader: int, seconds: float) -> bytes:
    """Return all that is written to *reader*, until its other end is closed."""
    deadline = time.monotonic() + seconds
    parts: list[bytes] = []
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise DocumentError(State.TOO_SLOW, f"not read in {seconds:g} s")
        part = os.read(reader, _CHUNK)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _work(work: Callable[[], object], writer: int, parent: int, memory: int) -> NoReturn:
    """Do it, write the answer, and end without a word of the worker's own exit."""
    try:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        _die_with(parent)
        size = _address_space() + memory
        with suppress(ValueError, OSError):  # a lower limit is set already
            resource.setrlimit(resource.RLIMIT_AS, (size, size))
        answer = _answer(work, memory)
        with os.fdopen(writer, "wb") as file:
            file.write(answer)
    finally:
        # Neither the worker's buffers nor its connections are ours to end.
        os._exit(0)


def _answer(work: Callable[[], object], memory: int) -> bytes:
    """Return what *work* raises, and what it returns, pickled."""
    try:
        return pickle.dumps((None, work()))
    except MemoryError:
        return pickle.dumps((_too_large(memory), None))
    except Exception as error:  # noqa: BLE001 - it goes to the other process
        try:
            return pickle.dumps((error, None))
        except Exception:  # noqa: BLE001 - some cannot be pickled
            return pickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"), None))


def _too_large(memory: int) -> DocumentError:
    message = f"reading it takes more than {memory / 1024**2:,.0f} MB of memory"
    return DocumentError(State.TOO_LARGE, message)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when *parent* ends."""
    with suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _address_space() -> int:
    """Return the bytes of address space of this process; 0 if unknown."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()
