"""A place that is held by a task that does not run is an alarm."""

import logging
from dataclasses import dataclass

import pytest

from task_server.worker.status.places import PATIENCE, Places


@dataclass(eq=False)
class Request:
    id: str
    name: str = "proj.work"


def test_a_task_that_runs_nowhere_is_lost_after_a_while_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Between its end and the news of it a task may be nowhere for a moment.
    """
    one, other = Request("1"), Request("2")
    places = Places(lambda requests: [request for request in requests if request is other])

    with caplog.at_level(logging.ERROR):
        found = [places.lost([one, other], now) for now in (0.0, PATIENCE - 1, PATIENCE, 99.0)]

    assert [0, 0, 1, 1] == found
    assert 1 == len(caplog.messages)
    assert caplog.messages[0].startswith("proj.work[1] holds a place and does not run")


def test_a_task_that_is_told_of_in_time_is_not_lost() -> None:
    """
    The count begins anew with each task.
    """
    one, other = Request("1"), Request("2")
    places = Places(lambda _: [])
    places.lost([one], 0.0)

    assert [0, 0] == [places.lost([other], PATIENCE), places.lost([other], 2 * PATIENCE - 1)]
