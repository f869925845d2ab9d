"""Tasks that wait for the results of other tasks, many at once."""

import gc
from collections.abc import Callable, Iterator

import pytest
from celery import Celery
from worker_child import Broker, Worker, eventually


@pytest.fixture
def app(broker: Broker) -> Iterator[Celery]:
    """Whoever sends, and waits for results."""
    sender = Celery("waiting", broker=broker.url, backend=broker.url)
    yield sender
    # Results unsubscribe when they are collected, which needs a Redis.
    gc.collect()
    sender.close()


def test_greenlets_wait_for_results_together(
    broker: Broker, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    Forty parents that each wait for five children: 40 of 40, on every Celery.
    """
    environ = {"CELERY_RESULT_BACKEND": broker.url}
    worker = start("gevent", app="waiting", concurrency=200, environ=environ)
    worker.hear("READY=1")

    parents = [app.send_task("waiting.parent") for _ in range(40)]

    eventually(lambda: all(result.ready() for result in parents), 60)
    assert [10] * 40 == [result.result for result in parents]
    assert "ConcurrentObjectUseError" not in worker.output()
    eventually(lambda: broker.unacked() == 0)
