"""Chords, groups and chains whose parts end at our workers and at Celery's own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from celery.exceptions import ChordError

from task_server.results.scripts import PART
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, PROJECT, Worker

pytestmark = [
    pytest.mark.slow,
    # What Celery's own backend calls.
    pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning"),
]

OURS = "task_server.results.backends ours"

SECONDS = 60


@pytest.fixture
def client(broker: Redis) -> Iterator[Celery]:
    """A client of plain Celery, which has no task_server installed."""
    app = Celery("client", broker=broker.url, backend=broker.url)
    app.conf.accept_content = ["json", "pickle"]
    yield app
    # A result unsubscribes when it is collected, maybe when there is no Redis any more.
    app.backend.remove_pending_result = lambda _: None
    app.close()


@contextmanager
def celerys_worker(broker: Redis, pool: str, environ: dict[str, str]) -> Iterator[None]:
    """Run a worker of plain Celery."""
    command = [sys.executable, "-m", "celery", "-A", "canvas", "-b", broker.url]
    arguments = ["worker", f"--pool={pool}", "--concurrency=2", "--prefetch-multiplier=1"]
    process = subprocess.Popen(
        [*command, "--result-backend", broker.url, *arguments, "--hostname=plain@%h"],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "CANVAS_SIDE": "plain", **environ},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


def task(app: Celery, name: str, *args: Any, **options: Any) -> Any:
    return app.signature(f"canvas.{name}", args=args, **options)


def run(app: Celery) -> None:
    """Run one canvas of each kind, and compare what comes out of it."""

    def s(name: str, *args: Any, **options: Any) -> Any:
        return task(app, name, *args, **options)

    numbers = [s("add", one, 1) for one in range(20)]
    # A chord, and one of one.
    assert 210 == chord(numbers, s("total"))().get(timeout=SECONDS)
    assert 3 == chord([s("add", 1, 2)], s("total"))().get(timeout=SECONDS)
    # A group that is joined, in order.
    joined = group(numbers)()
    assert list(range(1, 21)) == joined.get(timeout=SECONDS)
    assert joined.successful()
    # Saved, and restored by somebody else.
    joined.save()
    assert list(range(1, 21)) == app.GroupResult.restore(joined.id).get(timeout=SECONDS)
    # A chain; with a group, which makes it a chord; with one in a group.
    linked = chain(s("add", 1, 1), *(s("add", 1) for _ in range(5)))()
    assert (7, 6) == (linked.get(timeout=SECONDS), linked.parent.get(timeout=SECONDS))
    assert 10 == chain(group(s("add", 1, 1), s("add", 2, 2)), s("total"), s("add", 4))().get(
        timeout=SECONDS
    )
    nested = chord([chord(numbers[:3], s("total")), chord(numbers[3:6], s("total"))], s("total"))
    assert 21 == nested().get(timeout=SECONDS)
    inner = chord([group(numbers[:2]), chain(s("add", 1, 1), s("add", 1))], s("listed"))
    # Celery makes parts of the group's tasks, and gives them one place.
    assert [1, 2, 3] == sorted(inner().get(timeout=SECONDS))
    # Parts that are retried, replaced, or keep no result.
    odd = [s("insist", 5), s("become", 10), s("ignored", 7)]
    assert [5, 33, 7] == chord(odd, s("listed"))().get(timeout=SECONDS)
    # Children.
    spread = s("spread", 1).delay()
    assert spread.get(timeout=SECONDS) == [one.id for one in spread.children]
    assert [1, 2] == [one.get(timeout=SECONDS) for one in spread.children]
    # Stamps stay in what is stored with a result.
    stamped = s("add", 1, 1)
    stamped.stamp(customer="c1")
    result = chord([stamped, s("add", 1, 0)], s("total"))()
    assert 3 == result.get(timeout=SECONDS)
    assert "c1" in app.backend.get_task_meta(result.parent.results[0].id)["customer"]


def fail(app: Celery, broker: Redis) -> None:
    """Run canvases that fail."""
    body = task(app, "total").on_error(task(app, "note"))
    failed = chord([task(app, "refuse", 7), task(app, "add", 1, 1)], body)()
    with pytest.raises((ChordError, ValueError), match="7"):
        failed.get(timeout=SECONDS)
    # The part's own error comes first, if it is there before the others end.
    until(lambda: failed.state == "FAILURE", seconds=SECONDS)
    until(lambda: broker.client.llen("errbacks"), seconds=SECONDS)
    # What follows a failure in a chain fails, and its chord.
    broken = chord([chain(task(app, "refuse", 8), task(app, "add", 1))], task(app, "total"))()
    with pytest.raises((ChordError, ValueError), match="8"):
        broken.get(timeout=SECONDS)
    with pytest.raises(ValueError, match="9"):
        group([task(app, "add", 1, 1), task(app, "refuse", 9)])().get(timeout=SECONDS)


@pytest.mark.parametrize(
    "environ",
    [{}, {"CANVAS_TRACK": "1", "CANVAS_PICKLE": "1", "CANVAS_RETRY": "1", "C_FORCE_ROOT": "1"}],
    ids=["json", "pickle"],
)
@pytest.mark.parametrize("pool", POOLS)
def test_canvases_run_on_both_kinds_of_worker(
    broker: Redis,
    start: Callable[..., Worker],
    client: Celery,
    pool: str,
    environ: dict[str, str],
) -> None:
    """
    What comes out is what Celery's canvas promises, wherever each part runs.
    """
    if "CANVAS_PICKLE" in environ:
        client.conf.result_serializer = "pickle"
    worker = start(pool, app="canvas", environ={**environ, "CELERY_RESULT_BACKEND": broker.url})
    worker.hear("READY=1")
    assert OURS == task(client, "where").delay().get(timeout=SECONDS)
    with celerys_worker(broker, pool, environ):
        seen: set[str] = set()

        def both() -> bool:
            seen.update(group(task(client, "where") for _ in range(8))().get(timeout=SECONDS))
            return len(seen) == 2

        until(both, seconds=SECONDS)
        assert {OURS, "celery.backends.redis plain"} == seen
        run(client)
        fail(client, broker)
    # And with ours alone.
    run(client)
    fail(client, broker)


@pytest.mark.parametrize("pool", POOLS)
def test_celerys_own_store_can_be_asked_for(
    broker: Redis, start: Callable[..., Worker], client: Celery, pool: str
) -> None:
    """
    With `result_store = "celery"` the backend is Celery's.
    """
    start(
        *(pool,),
        app="canvas",
        result_store="celery",
        environ={"CELERY_RESULT_BACKEND": broker.url},
    ).hear("READY=1")

    assert "celery.backends.redis ours" == task(client, "where").delay().get(timeout=SECONDS)


@pytest.mark.parametrize("pool", POOLS)
def test_a_chord_outlives_a_restart_of_redis(
    broker: Redis, start: Callable[..., Worker], client: Celery, pool: str
) -> None:
    """
    In the middle of its parts: its body runs, with the result of each part once.
    """
    worker = start(pool, app="canvas", environ={"CELERY_RESULT_BACKEND": broker.url})
    worker.hear("READY=1")
    client.backend.remove_pending_result = lambda _: None
    places = 2
    parts = [task(client, "slowly", one, 0.3) for one in range(places * 12)]
    body = chord(parts, task(client, "listed"))()
    until(lambda: len(broker.client.keys("celery-task-meta-*")) >= places * 2, seconds=SECONDS)
    broker.stop()
    broker.start()
    # The client's subscription is lost with its connection.
    with Celery("other", broker=broker.url, backend=broker.url) as other:
        other.backend.remove_pending_result = lambda _: None
        until(lambda: other.AsyncResult(body.id).ready(), "the chord's body", SECONDS)
        assert list(range(places * 12)) == other.AsyncResult(body.id).result


def test_a_part_that_runs_twice_counts_once(
    broker: Redis, start: Callable[..., Worker], client: Celery
) -> None:
    """
    Its process is killed when its result is counted and its message is not acknowledged.
    """
    if PART is None:
        pytest.skip("Celery 5.6 counts it twice")
    start("prefork", app="canvas", environ={"CELERY_RESULT_BACKEND": broker.url}).hear("READY=1")
    parts = [task(client, "fall", 10), task(client, "add", 1, 1), task(client, "slowly", 3, 2.0)]

    assert [10, 2, 3] == chord(parts, task(client, "listed"))().get(timeout=SECONDS)
    assert 1 == len(broker.client.keys("fallen-*"))
