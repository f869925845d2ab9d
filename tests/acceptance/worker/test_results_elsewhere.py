"""Results that are not where the messages are: our producer, our workers, Celery's meaning."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chord, group

from task_server import producer
from tests.support.redis import Redis
from tests.support.worker import POOLS, PROJECT, Worker

pytestmark = [
    pytest.mark.slow,
    # What Celery's own backend calls.
    pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning"),
]

SECONDS = 60


@pytest.fixture
def results(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Redis]:
    """A second Redis, for results."""
    place = folder / "results"
    place.mkdir()
    one = Redis(place)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def client(broker: Redis, results: Redis) -> Iterator[Celery]:
    """A client with our producer."""
    app = Celery("client", broker=broker.url, backend=results.url, set_as_current=False)
    assert producer.install(app)
    yield app
    app.backend.remove_pending_result = lambda _: None
    app.amqp._producer_pool.connections.force_close_all()
    app.close()


def names(redis: Redis) -> set[str]:
    """Return the kinds of keys of results in a Redis."""
    found = (key.decode() for key in redis.client.keys("celery-task*"))
    return {key.partition("-meta-")[0] for key in found}


@pytest.mark.parametrize("pool", POOLS)
def test_results_are_on_another_server(
    broker: Redis, results: Redis, client: Celery, start: Callable[..., Worker], pool: str
) -> None:
    """
    Single results, joined groups and chords; the broker has none of them, and the other no message.
    """
    environ = {"CELERY_BROKER_URL": broker.url, "CELERY_RESULT_BACKEND": results.url}
    with start(pool, app="canvas", concurrency=2, environ=environ):
        add, total = (client.signature(f"canvas.{name}") for name in ("add", "total"))
        single = [add.clone((number, 1)).delay() for number in range(5)]
        assert [1, 2, 3, 4, 5] == [one.get(timeout=SECONDS) for one in single]
        joined = group(add.clone((number, 1)) for number in range(200))()
        assert list(range(1, 201)) == joined.get(timeout=SECONDS)
        assert 200 == joined.completed_count()
        parts = [add.clone((number, 1)) for number in range(100)]
        assert 5050 == chord(parts, total)().get(timeout=SECONDS)
        assert "celery-task" in names(results)
        assert set() == names(broker)
        assert 0 == results.client.exists("celery", "unacked", "_kombu.binding.celery")
        joined.forget()
        assert 0 == joined.completed_count()


SENDER = """
    import sys
    from stored import add, total
    from celery import chord, group
    from django.core.management import call_command

    if sys.argv[1:] == ["migrate"]:
        call_command("migrate", verbosity=0)
        sys.exit()
    single = [add.delay(number, 1) for number in range(5)]
    assert [1, 2, 3, 4, 5] == [one.get(timeout=60) for one in single]
    plain = vars(add.app)["send_task"]
    assert [True] == [each.is_trusted for each in plain._templates.values()], plain._templates
    joined = group(add.s(number, 1) for number in range(20))()
    assert list(range(1, 21)) == joined.get(timeout=60)
    assert 20 == joined.completed_count()
    assert 55 == chord([add.s(number, 1) for number in range(10)], total.s())().get(timeout=60)
    joined.forget()
    print("done")
"""


@pytest.mark.parametrize("pool", POOLS)
def test_results_are_in_the_projects_database(
    broker: Redis, start: Callable[..., Worker], folder: Path, pool: str
) -> None:
    """
    By django-celery-results: the producer sends, the worker stores as Celery does.
    """
    environ = {"CELERY_BROKER_URL": broker.url, "STORED_FILE": str(folder / "db.sqlite3")}

    def run(*arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(SENDER), *arguments],
            env={**os.environ, "PYTHONPATH": str(PROJECT), **environ},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert 0 == done.returncode, done.stderr[-4000:]
        return done.stdout

    run("migrate")
    with start(pool, app="stored", concurrency=1, environ=environ):
        assert "done" in run()
        assert set() == names(broker)
