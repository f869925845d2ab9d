"""Children of prefork are replaced for what is their own, and the log says which."""

from collections.abc import Callable

from tests.support.wait import until
from tests.support.worker import Worker


def test_a_large_parent_does_not_make_large_children(
    start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    The same children run all tasks, although each seems to have the parent's memory.
    """
    worker = start("prefork", app="large", concurrency=8, memory_limit="1GiB")
    worker.hear("READY=1")
    for number in range(80):
        send("which", number)
    until(lambda: len(worker.starts()) == 80)

    assert len(worker.pids()) <= 8, worker.output()
    assert "is replaced" not in worker.output()


def test_a_child_that_grows_is_replaced_and_said_once(
    start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    One line has its process, what it has and its limit.
    """
    worker = start("prefork", app="large", concurrency=1, max_memory_per_child="100MiB")
    worker.hear("READY=1")
    for number in range(4):
        send("grow", number, 60)
    until(lambda: len(worker.starts()) == 4)
    until(lambda: worker.output().count("is replaced") == 2)

    lines = [line for line in worker.output().splitlines() if "is replaced" in line]

    assert 2 == len(worker.pids()), worker.output()
    for pid, line in zip(sorted(worker.pids()), sorted(lines), strict=True):
        assert f"child {pid} is replaced: it has 1" in line
        assert line.endswith("MiB of its own, the limit is 100 MiB")
