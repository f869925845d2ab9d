"""Memory: shared between the pool's children, and bounded on both pools."""

import gc
import logging
import os
import time
from pathlib import Path
from typing import Any

from billiard import pool as billiard_pool
from celery import signals

from task_server.worker.patching import patch

logger = logging.getLogger(__name__)

pool: Any = billiard_pool

#: Seconds between two reads of a child's private memory; the kernel walks all of its
#: pages for the answer, some milliseconds for each 100 MiB.
READ_INTERVAL = 0.5

#: The share of a child's time that the reads may take.
READ_SHARE = 0.01


def freeze_before_fork() -> None:
    """
    Let the children share the memory of what was imported before they were forked.

    A collection writes into the header of every object, so each child would
    soon have its own copy of all of them: 58 MiB a child instead of 27 for an
    import-heavy project. A frozen object is not visited any more. Garbage is
    collected first; the few objects created between two forks do not matter.
    """

    def freeze(**_: Any) -> None:
        gc.collect()
        gc.freeze()

    signals.worker_before_create_process.connect(freeze, weak=False)


def freeze_after_imports() -> None:
    """
    Exclude imported objects from garbage collection, in a worker that does not fork.

    Each task creates some objects that only a collection frees. Thousands of tasks a
    second cause that many collections, and some of them traverse every object.
    Greenlets are created later: for the stacks on SIGUSR1, gevent finds them among
    the objects that are not frozen.
    """

    def freeze(**_: Any) -> None:
        gc.collect()
        gc.freeze()

    signals.celeryd_after_setup.connect(freeze, weak=False)


def used(statm: Path = Path("/proc/self/statm")) -> int:
    """Return the bytes of this process in memory; 0 if the system has no /proc."""
    try:
        resident = statm.read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(resident) * os.sysconf("SC_PAGE_SIZE")


class PrivateMemory:
    """
    The memory of a pool child that it does not share with its parent.

    billiard checks after each task, and counts the parent's memory for each child: with a
    large parent every child is replaced after its first task.
    """

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self._statm = proc / "statm"
        self._rollup = proc / "smaps_rollup"
        self._inherited = used(self._statm)
        self._own = 0
        self._all = 0
        self._next_read = 0.0

    def bytes(self, limit: int) -> int:
        """
        Return the bytes; an upper bound if that is within *limit*, which is cheaper.
        """
        everything = used(self._statm)
        if everything <= limit:
            return everything
        # What was added since the last read is private.
        most = self._own + everything - self._all
        if time.monotonic() < self._next_read and most <= limit:
            return most
        began = time.monotonic()
        private = self._private()
        self._own = everything - self._inherited if private is None else private
        self._all = everything
        ended = time.monotonic()
        self._next_read = ended + max(READ_INTERVAL, (ended - began) / READ_SHARE)
        return max(0, self._own)

    def _private(self) -> int | None:
        """Return the bytes of pages that no other process has; None if the kernel does not say."""
        try:
            lines = self._rollup.read_text().splitlines()
            kib = [int(line.split()[1]) for line in lines if line.startswith(PRIVATE)]
        except (OSError, IndexError, ValueError):
            return None
        return sum(kib) << 10 if kib else None


#: Of smaps_rollup: pages of this process alone, and its part of those that are swapped out.
PRIVATE = ("Private_Clean:", "Private_Dirty:", "SwapPss:")


class Replaced(str):
    """billiard's message, whose log is not shown; formatting it logs a line to Celery's."""

    __slots__ = ()

    def format(self, *args: object, **kwargs: object) -> str:
        """Log that this child is replaced: *args* are its memory and the limit, in KiB."""
        kib, limit = args
        logger.warning(
            "child %d is replaced: it has %d MiB of its own, the limit is %d MiB",
            os.getpid(),
            int(kib) >> 10,  # type: ignore[call-overload]
            int(limit) >> 10,  # type: ignore[call-overload]
        )
        return super().format(*args, **kwargs)


def limit_private_memory() -> None:
    """Apply billiard's limit to the private memory of children forked from now on."""
    known = pool.mem_rss
    if not used():
        return
    memory: list[PrivateMemory] = []

    def begin(**_: Any) -> None:
        memory[:] = [PrivateMemory()]

    workloop = pool.Worker.workloop

    def workloop_with_limit(self: Any, *args: Any, **kwargs: Any) -> Any:
        limit = (self.max_memory_per_child or 0) << 10

        def own() -> int:
            return (memory[0].bytes(limit) if memory else known() << 10) >> 10

        patch(pool, "mem_rss", own)
        return workloop(self, *args, **kwargs)

    patch(pool.Worker, "workloop", workloop_with_limit)
    patch(pool, "MAXMEM_USED_FMT", Replaced(pool.MAXMEM_USED_FMT))
    signals.worker_process_init.connect(begin, weak=False)
