"""Tasks that wait for the results of other tasks, many at once."""

from collections.abc import Callable

from celery import Celery

from tests.support.worker import Broker, Worker, eventually


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
