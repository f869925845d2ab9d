"""Connections to Redis are few, and never more than `check --live` reckons with."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from task_server.checks.connections import redis_connections
from task_server.config.model import BUILT_IN_WORKERS
from tests.support.redis import Redis
from tests.support.specs import spec_of
from tests.support.wait import until
from tests.support.worker import PROJECT, Worker

pytestmark = pytest.mark.slow


def connected(broker: Redis) -> list[dict[str, Any]]:
    """Return the connections of others."""
    own = str(broker.client.client_id())
    clients: Any = broker.client.client_list()
    return [client for client in clients if client["id"] != own]


def bound(pool: str, concurrency: int) -> int:
    worker = replace(BUILT_IN_WORKERS[pool], concurrency=concurrency)
    return redis_connections(spec_of(worker))


def fill(broker: Redis, name: str, count: int, seconds: float) -> None:
    """Send tasks from a process that is gone, with its connections, when this returns."""
    code = f"import proj\nfor number in range({count}): proj.{name}.delay(number, {seconds})"
    environ = {"CELERY_BROKER_URL": broker.url, "CELERY_RESULT_BACKEND": broker.url}
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environ, check=True)


def ask_it(broker: Redis) -> None:
    """Ask all workers over the remote control, as Flower does."""
    subprocess.run(
        [sys.executable, "-m", "celery", "--app", "proj", "inspect", "ping"],
        cwd=PROJECT,
        env={"CELERY_BROKER_URL": broker.url},
        stdout=subprocess.DEVNULL,
        check=True,
    )


@pytest.mark.parametrize("transport", ["kombu", "atomic"])
@pytest.mark.parametrize(
    ("pool", "concurrency"), [("prefork", 1), ("prefork", 3), ("gevent", 20), ("gevent", 512)]
)
def test_a_worker_has_no_more_connections_than_its_bound(
    pool: str, concurrency: int, transport: str, broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    With results stored, tasks called by tasks and questions answered: at most the bound, and
    not far below; no more than 8 while it waits.
    """
    worker = start(
        pool,
        concurrency=concurrency,
        transport=transport,
        # The connection that renews is there from the first renewal on.
        lease_seconds=5,
        environ={"CELERY_RESULT_BACKEND": broker.url},
    )
    worker.hear("READY=1")
    ask_it(broker)
    idle = len(connected(broker))
    fill(broker, "ask", 300, 0.05)
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, len(connected(broker)))
        return len(worker.ends()) == 300 and broker.unacked() == 0

    until(done)

    assert idle <= 8
    # How many greenlets end together is a matter of the machine's speed.
    least = bound(pool, concurrency) / (2 if pool == "prefork" else 6)
    assert least < most <= bound(pool, concurrency)


def test_greenlets_that_end_together_lose_nothing(
    broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    300 results and acknowledgements at one moment wait for their turn; the client would refuse
    those after the hundredth, and their tasks hung until the visibility timeout.
    """
    worker = start("gevent", concurrency=300, environ={"CELERY_RESULT_BACKEND": broker.url})
    fill(broker, "answer", 300, 3.0)
    worker.hear("READY=1")

    until(lambda: len(worker.ends()) == 300)
    until(lambda: broker.unacked() == 0)

    assert {1} == set(worker.starts().values())
    assert 300 == len(list(broker.client.scan_iter("celery-task-meta-*", count=1000)))
    assert "MaxConnectionsError" not in worker.output()
