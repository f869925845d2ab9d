"""Memory: shared between the pool's children, and bounded on both pools."""

import gc
import logging
import os
import time
from pathlib import Path
from typing import Any

from billiard import pool as billiard_pool
from celery import signals

from task_server.worker.patches import patch

logger = logging.getLogger(__name__)

pool: Any = billiard_pool

#: Seconds between two looks at what a child has of its own; the kernel goes through all
#: of its pages for the answer, some milliseconds for each 100 MiB.
LOOK_INTERVAL = 0.5

#: The looks may take this share of a child's time.
LOOK_SHARE = 0.01


def freeze_before_fork() -> None:
    """
    Let the children share the memory of what was imported before they were forked.

    A collection writes into the header of every object, so each child would
    soon have its own copy of all of them: 58 MiB a child instead of 27 for an
    import-heavy project. A frozen object is not looked at any more. What is
    garbage is collected first; the few objects that come between two forks
    are of no weight.
    """

    def freeze(**_: Any) -> None:
        gc.collect()
        gc.freeze()

    signals.worker_before_create_process.connect(freeze, weak=False)


def freeze_after_imports() -> None:
    """
    Let collections leave out what was imported, in a worker that does not fork.

    Each task makes some objects that only a collection frees, and thousands of
    tasks a second make as many collections, of which every so many-th one goes
    through all that there is. Greenlets come later: gevent finds them, for the
    stacks that SIGUSR1 asks for, among the objects that are not frozen.
    """

    def freeze(**_: Any) -> None:
        gc.collect()
        gc.freeze()

    signals.celeryd_after_setup.connect(freeze, weak=False)


def used(statm: Path = Path("/proc/self/statm")) -> int:
    """Return the bytes of this process in memory; 0 where the system does not tell."""
    try:
        resident = statm.read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(resident) * os.sysconf("SC_PAGE_SIZE")


class Own:
    """
    What a child of the pool has of its own, the memory it shares with its parent left out.

    billiard asks after each task, and counts what the parent had before the fork for
    each child: a large parent, and every child is replaced after its first task.
    """

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self._statm = proc / "statm"
        self._rollup = proc / "smaps_rollup"
        self._inherited = used(self._statm)
        self._own = 0
        self._all = 0
        self._next_look = 0.0

    def bytes(self, limit: int) -> int:
        """
        Return the bytes; more than it has, up to *limit*, where that answers the question.
        """
        everything = used(self._statm)
        if everything <= limit:
            return everything
        # What has come since the last look is its own.
        most = self._own + everything - self._all
        if time.monotonic() < self._next_look and most <= limit:
            return most
        began = time.monotonic()
        private = self._private()
        self._own = everything - self._inherited if private is None else private
        self._all = everything
        ended = time.monotonic()
        self._next_look = ended + max(LOOK_INTERVAL, (ended - began) / LOOK_SHARE)
        return max(0, self._own)

    def _private(self) -> int | None:
        """Return the bytes of pages that no other process has; None where it is not told."""
        try:
            lines = self._rollup.read_text().splitlines()
            kib = [int(line.split()[1]) for line in lines if line.startswith(PRIVATE)]
        except (OSError, IndexError, ValueError):
            return None
        return sum(kib) << 10 if kib else None


#: Of smaps_rollup: pages of this process alone, and its part of those that are swapped out.
PRIVATE = ("Private_Clean:", "Private_Dirty:", "SwapPss:")


class Replaced(str):
    """billiard's message, for a log that nobody sees; its line is in Celery's."""

    __slots__ = ()

    def format(self, *args: object, **kwargs: object) -> str:
        """Say that this child is replaced: *args* are what it has and its limit, in KiB."""
        kib, limit = args
        logger.warning(
            "child %d is replaced: it has %d MiB of its own, the limit is %d MiB",
            os.getpid(),
            int(kib) >> 10,  # type: ignore[call-overload]
            int(limit) >> 10,  # type: ignore[call-overload]
        )
        return super().format(*args, **kwargs)


def count_own() -> None:
    """Let billiard judge the children that are forked from now on by what is their own."""
    known = pool.mem_rss
    if not used():
        return
    held: list[Own] = []

    def begin(**_: Any) -> None:
        held[:] = [Own()]

    workloop = pool.Worker.workloop

    def workloop_with_limit(self: Any, *args: Any, **kwargs: Any) -> Any:
        limit = (self.max_memory_per_child or 0) << 10

        def own() -> int:
            return (held[0].bytes(limit) if held else known() << 10) >> 10

        patch(pool, "mem_rss", own)
        return workloop(self, *args, **kwargs)

    patch(pool.Worker, "workloop", workloop_with_limit)
    patch(pool, "MAXMEM_USED_FMT", Replaced(pool.MAXMEM_USED_FMT))
    signals.worker_process_init.connect(begin, weak=False)
