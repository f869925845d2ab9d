"""A worker whose user of Redis may not do all that a worker does."""

from collections.abc import Callable

import pytest

from task_server.transport.store.rights import rules
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

pytestmark = pytest.mark.slow


def limited(broker: Redis, *acl: str) -> str:
    """Return the URL of a user with these rules."""
    broker.client.execute_command("ACL", "SETUSER", "w", "reset", "on", ">pw", *acl)
    return broker.url.replace("redis://", "redis://w:pw@")


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_lacks_a_right_is_not_ready(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    It is alive, says which command is denied, and leaves every message in its queue.
    """
    for number in range(5):
        send("work", number)
    worker = start(pool, broker_url=limited(broker, "~*", "&*", "+@all", "-hset"))
    until(lambda: "hset" in worker.verdict().reason)
    verdict = worker.verdict(max_idle=0.0)

    assert (True, False) == (verdict.alive, verdict.ready)
    assert 5 == broker.queued()
    assert 0 == broker.unacked()
    assert "Redis rejects the fetch" in worker.output()

    limited(broker, "~*", "&*", "+@all")
    until(lambda: len(worker.ends()) == 5)
    until(lambda: worker.verdict().ready)

    assert {1} == set(worker.ends().values())


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_needs_no_more_than_is_written_down(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    A user with the rules of the reference runs tasks, stops, and requeues what has not started.
    """
    worker = start(pool, broker_url=limited(broker, *rules(["celery"]).split()), concurrency=1)
    worker.hear("READY=1")
    for number in range(4):
        send("work", number, 0.5)
    send("work", 9, countdown=600)
    until(lambda: worker.ends()[0])
    until(lambda: broker.client.zcard("unacked.delayed:celery") == 1)
    worker.process.terminate()

    assert 0 == worker.wait()
    assert 0 == broker.unacked()
    assert 4 == len(worker.ends()) + broker.queued()
    assert 1 == broker.client.zcard("unacked.delayed:celery")
    assert "NOPERM" not in worker.output(), worker.output()[-3000:]
    assert "Traceback" not in worker.output(), worker.output()[-3000:]
    assert "does without" not in worker.output()
