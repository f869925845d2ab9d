"""A worker whose settings are as large as they may be: it works, and stops."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from task_server.config import values
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

pytestmark = pytest.mark.slow

LARGEST: dict[str, Any] = {
    "drain_seconds": 7 * values.DAY,
    "time_limit": values.LONGEST,
    "poison_limit": values.MOST,
    "delay_seconds": values.DAY,
    "database_connections": values.MOST,
    "database_max_age": 7 * values.DAY,
    "database_max_idle": 7 * values.DAY,
    "prefetch_multiplier": values.MOST,
}


@pytest.mark.parametrize("pool", POOLS)
def test_the_largest_settings_are_borne(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    No timer, poll or queue breaks of them: tasks run, and SIGTERM ends the worker with 0.
    """
    worker = start(
        pool,
        **LARGEST,
        environ={
            "TASK_SERVER_VISIBILITY_TIMEOUT": str(values.LONGEST),
            "TASK_SERVER_IMPORT_SECONDS": str(values.LONGEST),
        },
    )
    worker.hear("READY=1")
    for number in range(10):
        send("work", number, 0.1)
    until(lambda: len(worker.ends()) == 10)
    worker.send(signal.SIGTERM)

    assert 0 == worker.wait(), worker.output()
    assert "Traceback" not in worker.output()
    assert (0, 0) == (broker.queued(), broker.unacked())
