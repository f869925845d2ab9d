"""Which workers a check covers by default."""

from collections.abc import Sequence

import pytest

from task_server.checks import ProjectFacts, TaskFacts, used
from task_server.config.loader import load
from task_server.project.queues import Seen
from tests.unit.checks.cases import own

BULK = {"TASK_SERVER_WORKERS_BULK_QUEUES": "batch1"}
EVERYTHING = {"TASK_SERVER_WORKERS_BULK_QUEUES": "all"}
GEVENT = {"TASK_SERVER_WORKERS_GEVENT_CONCURRENCY": "64"}
WAITS = own((TaskFacts(name="docket.fetch", queue="io_bound"),))
ELSEWHERE = own(task_default_queue="web")


@pytest.mark.parametrize(
    ("environ", "facts", "expected"),
    [
        ({}, own(), ["prefork"]),
        ({}, WAITS, ["prefork", "gevent"]),
        ({}, ELSEWHERE, ["prefork"]),
        ({}, ProjectFacts(named={}, seen=(Seen("io_bound", "a.py:1", certain=True),)), ["gevent"]),
        (
            {},
            ProjectFacts(named={}, seen=(Seen("io_bound", "a.py:1", certain=False),)),
            ["prefork"],
        ),
        ({}, None, ["prefork", "gevent"]),
        (BULK, None, ["bulk"]),
        (BULK, own(), ["prefork", "bulk"]),
        (BULK, ELSEWHERE, ["bulk"]),
        (EVERYTHING, WAITS, ["bulk"]),
        (GEVENT, own(), ["prefork", "gevent"]),
        ({"TASK_SERVER_WORKERS_ALL_QUEUES": "all"}, WAITS, ["all"]),
    ],
)
def test_the_workers_that_are_used(
    environ: dict[str, str], facts: ProjectFacts | None, expected: Sequence[str]
) -> None:
    """
    Those that are described, and built-in ones for queues of the project that these leave.
    """
    assert dict.fromkeys(expected, 1) == used(load(None, environ), facts)
