"""The memory that a worker uses."""

import os
from pathlib import Path

from task_server.worker import memory


def test_the_used_bytes_are_those_of_this_process(tmp_path: Path) -> None:
    """
    The second number of statm counts pages in memory.
    """
    path = tmp_path / "statm"
    path.write_text("900 300 5 1 0 7 0\n")

    assert 300 * os.sysconf("SC_PAGE_SIZE") == memory.used(path)
    assert 0 == memory.used(tmp_path / "missing")
    assert memory.used() > 1 << 20
