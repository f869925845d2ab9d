"""How the channels of results are left that have come."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery.app.task import Context

from task_server import producer
from task_server.results import parents
from tests.integration.results.conftest import calls
from tests.support.wait import until

# What Celery's own backend calls.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")


@pytest.fixture(params=["worker", "producer"])
def waits(request: pytest.FixtureRequest, backend: Callable[..., Any]) -> Iterator[Any]:
    """Return who waits: the backend of a worker, and that of a process with the producer."""
    if request.param == "worker":
        yield backend()
        return
    app = backend(ours=False).app
    assert producer.install(app)
    yield app.backend
    parents.uninstall()


def store(backend: Any, ids: list[str]) -> None:
    for task_id in ids:
        backend.mark_as_done(task_id, task_id, Context(id=task_id))


def channels(client: redis.Redis, pattern: str) -> list[Any]:
    """Return those that somebody has subscribed to; results of other tests may be left."""
    found: Any = client.pubsub_channels(f"celery-task-meta-{pattern}")
    return list(found)


def test_the_channels_of_a_group_are_left_together(
    client: redis.Redis, backend: Callable[..., Any], waits: Any
) -> None:
    """
    Of 250 results that come while one waits; none is kept when the waiting is over.
    """
    ids = [f"id-{number}" for number in range(250)]
    stores = backend(ours=False)
    group = waits.app.GroupResult("g", [waits.app.AsyncResult(one) for one in ids])
    client.config_resetstat()

    def store_all() -> None:
        until(lambda: len(channels(client, "id-*")) == len(ids))
        store(stores, ids)

    storing = threading.Thread(target=store_all)
    storing.start()
    found = group.get(timeout=60)
    storing.join(60)

    assert ids == found
    assert 1 <= calls(client)["unsubscribe"] <= 4
    until(lambda: not channels(client, "id-*"))


def test_one_waits_again_for_what_was_left(
    client: redis.Redis, backend: Callable[..., Any], waits: Any
) -> None:
    """
    A channel that is to be left, and is wanted again, is not left.
    """
    stores = backend(ours=False)
    consumer = waits.result_consumer
    consumer.consume_from("other")
    consumer._waits = (object(),)
    consumer.consume_from("again")
    # The producer subscribes when it waits.
    consumer.drain_events(timeout=0.01)
    consumer.cancel_for("again")
    until(lambda: channels(client, "again"))
    consumer.consume_from("again")
    consumer.drain_events(timeout=0.01)
    consumer._waits = ()
    consumer.cancel_for("other")
    until(lambda: not channels(client, "other"))
    kept = channels(client, "again")
    result = waits.app.AsyncResult("again")
    storing = threading.Thread(target=store, args=(stores, ["again"]))
    storing.start()
    found = result.get(timeout=60)
    storing.join(60)

    assert [b"celery-task-meta-again"] == kept
    assert "again" == found


def test_what_nobody_waits_for_is_left_at_once(
    client: redis.Redis, backend: Callable[..., Any]
) -> None:
    """
    Such as the channel of a result object that is thrown away.
    """
    one = backend()
    one.result_consumer.consume_from("a")
    until(lambda: channels(client, "a"))
    one.result_consumer.cancel_for("a")

    until(lambda: not channels(client, "a"))
