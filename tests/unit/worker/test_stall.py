"""When messages count as left lying."""

import pytest

from task_server.worker.status.stall import Standstill


def test_a_queue_that_does_not_shrink_beside_free_places_counts_from_the_second_look() -> None:
    """
    One look tells nothing: the messages may have come this moment.
    """
    queues = Standstill()
    looks = enumerate((1, 2, 2, 5))

    found = [queues.look(waiting, 0, 10.0 * number, idle=True) for number, waiting in looks]

    assert [None, 10.0, 10.0, 10.0] == found


@pytest.mark.parametrize(
    ("waiting", "idle", "taken"), [(1, True, 0), (3, False, 0), (3, True, 1), (0, True, 0)]
)
def test_anything_that_moves_begins_the_count_anew(waiting: int, *, idle: bool, taken: int) -> None:
    """
    Fewer messages, no free place, a message taken, or an empty queue is no backlog.
    """
    queues = Standstill()
    for now in (0.0, 10.0, 20.0):
        queues.look(2, 0, now, idle=True)

    assert queues.look(waiting, taken, 30.0, idle=idle) is None
