"""Children of prefork are replaced for what is their own, and the log says which."""

import re
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


#: The line; its group is the process.
SAID = r"child (\d+) is replaced: it has 1\d\d MiB of its own, the limit is 100 MiB$"


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
    said = [re.search(SAID, line) for line in lines]
    assert worker.pids() == {int(one[1]) for one in said if one}, lines
