"""The memory that a worker uses."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import signals

from task_server.worker.pools import memory


def test_the_used_bytes_are_those_of_this_process(tmp_path: Path) -> None:
    """
    The second number of statm counts pages in memory.
    """
    path = tmp_path / "statm"
    path.write_text("900 300 5 1 0 7 0\n")

    assert 300 * os.sysconf("SC_PAGE_SIZE") == memory.used(path)
    assert 0 == memory.used(tmp_path / "missing")
    assert memory.used() > 1 << 20


MIB = 1 << 20

Put = Callable[[int, int], None]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write what the kernel says: `put(all, own)` in MiB; own below 0 is left out."""

    def write(everything: int, own: int) -> None:
        pages = everything * MIB // os.sysconf("SC_PAGE_SIZE")
        (tmp_path / "statm").write_text(f"9 {pages} 1 1 0 1 0\n")
        (tmp_path / "smaps_rollup").unlink(missing_ok=True)
        if own >= 0:
            (tmp_path / "smaps_rollup").write_text(
                f"55d-7ff ---p 0 00:00 0 [rollup]\nRss: {everything << 10} kB\n"
                f"Shared_Clean: 4000 kB\nPrivate_Clean: 1024 kB\n"
                f"Private_Dirty: {(own - 1) << 10} kB\nSwapPss: 0 kB\n"
            )

    return write


def test_what_a_child_shares_with_its_parent_does_not_count(tmp_path: Path, put: Put) -> None:
    """
    A child of a large parent has little of its own.
    """
    put(232, 2)
    own = memory.PrivateMemory(tmp_path)

    assert 2 * MIB == own.bytes(100 * MIB)


def test_a_child_below_its_limit_is_not_looked_at(tmp_path: Path, put: Put) -> None:
    """
    The cheap number answers the question.
    """
    put(80, -1)
    own = memory.PrivateMemory(tmp_path)

    assert 80 * MIB == own.bytes(100 * MIB)


def test_a_child_that_grows_is_looked_at_at_once(tmp_path: Path, put: Put) -> None:
    """
    Measurements are some time apart, unless it may have exceeded its limit meanwhile.
    """
    put(232, 2)
    own = memory.PrivateMemory(tmp_path)
    own.bytes(100 * MIB)

    put(282, 52)
    below = own.bytes(100 * MIB)
    put(382, 152)
    above = own.bytes(100 * MIB)

    assert (52 * MIB, 152 * MIB) == (below, above)


def test_where_the_kernel_does_not_tell_what_came_since_the_fork_counts(
    tmp_path: Path, put: Put
) -> None:
    """
    Old kernels, and some sandboxes, have no smaps_rollup.
    """
    put(232, -1)
    own = memory.PrivateMemory(tmp_path)
    put(272, -1)

    assert 40 * MIB == own.bytes(100 * MIB)


def test_the_kernel_tells_of_this_process() -> None:
    """
    What is read here has the names that are looked for.
    """
    assert 1 * MIB < memory.PrivateMemory().bytes(0) <= memory.used()


def test_a_worker_that_does_not_fork_leaves_out_what_was_imported() -> None:
    """
    No collection goes through all that there is, once the project is imported.
    """
    memory.freeze_after_imports()
    try:
        signals.celeryd_after_setup.send(sender=None)

        assert gc.get_freeze_count() > 0
    finally:
        signals.celeryd_after_setup.receivers.pop()
        signals.celeryd_after_setup.sender_receivers_cache.clear()
        gc.unfreeze()
