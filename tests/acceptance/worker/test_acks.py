"""When a message is acknowledged: as soon as its task has ended."""

from collections.abc import Callable

import pytest
from redis.exceptions import RedisError

from tests.support.redis import Redis
from tests.support.wait import holds_within, until
from tests.support.worker import POOLS, Worker

#: Connections that are lost.
LOSSES = 8


def cut(broker: Redis) -> None:
    """Cut all connections but the test's own."""
    for kind in ("normal", "pubsub"):
        broker.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


@pytest.mark.parametrize("transport", ["atomic"], indirect=True)
@pytest.mark.parametrize("pool", POOLS)
def test_what_has_ended_runs_no_more_when_the_connection_is_lost(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    Up to Celery 5.6 a gevent worker acknowledged in its loop's next turn, and requeued until then.
    """

    def run(number: int) -> None:
        # The producer's connection was cut as well.
        def sent() -> bool:
            try:
                send("work", number)
            except (RedisError, OSError):
                return False
            return True

        assert holds_within(sent, 60)
        until(lambda: worker.ends()[number])

    worker = start(pool, concurrency=2)
    worker.ready()
    for number in range(LOSSES):
        run(number)
        cut(broker)
    run(LOSSES)
    until(broker.is_empty)

    assert dict.fromkeys(range(LOSSES + 1), 1) == worker.starts() == worker.ends(), worker.output()
