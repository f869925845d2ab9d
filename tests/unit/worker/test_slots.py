"""A slot whose task does not run is an error."""

import logging
from dataclasses import dataclass

import pytest

from task_server.launch.timing import DEFAULT_TIMING
from task_server.worker.status.slots import LeakedSlots

GRACE = DEFAULT_TIMING.leaked_slot


@dataclass(eq=False)
class Request:
    id: str
    name: str = "proj.work"


def test_a_task_that_does_not_run_is_counted_after_a_while_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Celery may need a moment to process the end of a task.
    """
    one, other = Request("1"), Request("2")
    slots = LeakedSlots(
        lambda requests: [request for request in requests if request is other], GRACE
    )

    with caplog.at_level(logging.ERROR):
        found = [slots.count([one, other], now) for now in (0.0, GRACE - 1, GRACE, 99.0)]

    assert [0, 0, 1, 1] == found
    assert 1 == len(caplog.messages)
    assert caplog.messages[0].startswith("proj.work[1] occupies a slot and does not run")


def test_a_task_whose_end_is_processed_in_time_is_not_counted() -> None:
    """
    Each task has its own time.
    """
    one, other = Request("1"), Request("2")
    slots = LeakedSlots(lambda _: [], GRACE)
    slots.count([one], 0.0)

    assert [0, 0] == [slots.count([other], GRACE), slots.count([other], 2 * GRACE - 1)]
