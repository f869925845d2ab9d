"""Tasks that Celery cancels when the connection is lost run again, at once and once."""

from collections.abc import Callable

import pytest

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import BOTH, POOLS, Worker

pytestmark = pytest.mark.slow


@BOTH
@pytest.mark.parametrize("pool", POOLS)
def test_a_cancelled_task_runs_again_at_once(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    With worker_cancel_long_running_tasks_on_connection_loss none is lost, and none waits for the
    visibility timeout of an hour; one that makes an error of its own of its end runs again too.
    """
    worker = start(pool, concurrency=4, environ={"PROJ_CANCEL": "1"})
    worker.hear("READY=1")
    for number in range(3):
        send("work", number, 10)
    send("stubborn", 3, 10)
    until(lambda: len(worker.starts()) == 4)
    broker.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    until(lambda: worker.ends() == {0: 1, 1: 1, 2: 1, 3: 1})
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))

    assert {0: 2, 1: 2, 2: 2, 3: 2} == worker.starts()
    assert 0 == broker.client.hlen("unacked.dead")


@BOTH
@pytest.mark.parametrize("pool", POOLS)
def test_one_that_ends_first_has_run(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    What is not cancelled is acknowledged through the next connection.
    """
    worker = start(pool, concurrency=2)
    worker.hear("READY=1")
    send("work", 1, 3)
    until(lambda: worker.starts() == {1: 1})
    broker.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    until(lambda: worker.ends() == {1: 1})
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))

    assert {1: 1} == worker.starts()
