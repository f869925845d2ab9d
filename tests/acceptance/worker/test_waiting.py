"""Tasks that wait for the results of other tasks, many at once."""

from collections.abc import Callable

from celery import Celery

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import Worker


def test_greenlets_wait_for_results_together(
    broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    Forty parents that each wait for five children: 40 of 40, on every Celery.
    """
    environ = {"CELERY_RESULT_BACKEND": broker.url}
    worker = start("gevent", app="waiting", concurrency=200, environ=environ)
    worker.hear("READY=1")

    parents = [app.send_task("waiting.parent") for _ in range(40)]

    until(lambda: all(result.ready() for result in parents))
    assert [10] * 40 == [result.result for result in parents]
    assert "ConcurrentObjectUseError" not in worker.output()
    until(lambda: broker.unacked() == 0)
