"""When a queue counts as stalled."""

import pytest

from task_server.worker.status.stall import StallDetector


def test_a_queue_that_does_not_shrink_beside_free_slots_stalls_from_the_second_reading() -> None:
    """
    One reading proves nothing: the messages may just have arrived.
    """
    detector = StallDetector()
    readings = enumerate((1, 2, 2, 5))

    found = [detector.update(waiting, 0, 10.0 * number, idle=True) for number, waiting in readings]

    assert [None, 10.0, 10.0, 10.0] == found


@pytest.mark.parametrize(
    ("waiting", "idle", "taken"), [(1, True, 0), (3, False, 0), (3, True, 1), (0, True, 0)]
)
def test_progress_ends_a_stall(waiting: int, *, idle: bool, taken: int) -> None:
    """
    Fewer messages, no free slot, a message received, or an empty queue is no stall.
    """
    detector = StallDetector()
    for now in (0.0, 10.0, 20.0):
        detector.update(2, 0, now, idle=True)

    assert detector.update(waiting, taken, 30.0, idle=idle) is None
