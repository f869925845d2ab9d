"""
Work on hostile text in a process of its own, so that none of it stops the command.

A parser can be made to take minutes, all memory, or to crash. The child says which
file it is at; when it dies of it, that file is named and left out of the next try.
"""

import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn

#: Bounds for one file, and for all: seconds of the processor; memory in bytes.
FILE_SECONDS, ALL_SECONDS, MEMORY = 10, 600, 3 * 2**30

#: Files that may end a process before the work is given up.
TRIES = 8

#: Given the files to leave out and what to call at each file, by its number.
Work = Callable[[Collection[int], Callable[[int], None]], bytes]


def apart(work: Work, files: Sequence[str]) -> tuple[bytes, dict[int, str]]:
    """
    Return what *work* returns, done in a child, and the files that it died of, with the reason.

    The result is empty if more than TRIES files ended a child.
    """
    died: dict[int, str] = {}
    with mmap.mmap(-1, 8) as place:
        while len(died) < TRIES:
            place[:] = len(files).to_bytes(8, "little")
            result, status = _child(work, died, place)
            if status == 0:
                return result, died
            at = int.from_bytes(place[:], "little")
            died[at] = _reason(status)
            if at >= len(files):
                break
    return b"", died


def _child(work: Work, left_out: Collection[int], place: mmap.mmap) -> tuple[bytes, int]:
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _work(work, left_out, place, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 - a descriptor
        result = pipe.read()
    _, status = os.waitpid(pid, 0)
    return result, status


def _work(work: Work, left_out: Collection[int], place: mmap.mmap, writing: int) -> NoReturn:
    """Do the work in the child, and end it without the parent's cleaning up."""
    code = 1
    try:
        # The parent is asked; the child dies of what its parent survives.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_AS, MEMORY)

        def at(number: int) -> None:
            place[:] = number.to_bytes(8, "little")
            _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + FILE_SECONDS)

        result = work(left_out, at)
        with open(writing, "wb") as pipe:
            pipe.write(result)
        code = 0
    except MemoryError:
        code = 2
    finally:
        os._exit(code)


def _limit(kind: int, soft: int) -> None:
    try:
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard)
        resource.setrlimit(kind, (soft, hard))
    except (OSError, ValueError):
        pass  # a system without that limit


def _reason(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return f"takes more than {FILE_SECONDS} s to read"
        return f"ends the process that reads it ({signal.Signals(number).name})"
    return "needs too much memory" if os.WEXITSTATUS(status) == 2 else "cannot be analysed"  # noqa: PLR2004
