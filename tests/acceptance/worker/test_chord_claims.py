"""A chord whose last part loses its process, and is run again by a worker of Celery's."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, chord

from task_server.results.scripts import PART
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import Worker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PART is None, reason="Celery 5.6 claims nothing"),
    # What Celery's own backend calls.
    pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning"),
]


def sent(app: Celery, how: str) -> Any:
    """Send a chord whose last part ends *how* the first time; return the result of its body."""
    parts = [
        app.signature("canvas.add", args=(1, 1)),
        app.signature("canvas.interrupted", args=(5, how)),
    ]
    return chord(parts, app.signature("canvas.listed"))()


@pytest.mark.parametrize(
    "end",
    [
        ("prefork", "killed"),
        ("gevent", "killed"),
        ("prefork", "its child killed"),
        ("prefork", "stopped"),
        ("gevent", "stopped"),
        ("prefork", "stopped late"),
    ],
    ids=" ".join,
)
def test_the_body_is_sent_by_whoever_runs_the_part_again(
    broker: Redis,
    start: Callable[..., Worker],
    stock: Callable[..., Worker],
    app: Celery,
    end: tuple[str, str],
) -> None:
    """
    Though the part had claimed the body, and the claim would last for minutes.
    """
    pool, how = end
    environ = {"CELERY_RESULT_BACKEND": broker.url, "CANVAS_CLAIMS": "1"}
    settings = {"app": "canvas", "environ": environ, "concurrency": 1, "drain_seconds": 1}
    worker = start(pool, **settings)
    worker.hear("READY=1")
    body = sent(app, how)
    if how == "killed":
        worker.wait()
        # It takes none of these messages, and redelivers them.
        start("prefork", name="other", queues=["other"], **settings).hear("READY=1")
    elif how.startswith("stopped"):
        until(lambda: broker.client.exists("sending"))
        worker.send(signal.SIGTERM)
        assert 0 == worker.wait()
    until(lambda: 1 == broker.queued(), "the part to be redelivered")
    stock("canvas", "--concurrency=1", **environ)

    until(body.ready, "the chord's body")
    assert [2, 5] == body.result
