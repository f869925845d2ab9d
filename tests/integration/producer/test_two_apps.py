"""Two Celery apps in one process: each has its own broker, results and settings."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, chord, group

from task_server.producer import sent_at
from tests.support.redis import Redis

# What Celery's own backend calls.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")


def waiting(server: Redis, number: int) -> list[dict[str, Any]]:
    """Return the messages that wait in a database."""
    client: Any = server.database(number).client
    return [json.loads(text) for text in client.lrange("celery", 0, -1)[::-1]]


def url(server: Redis, number: int) -> str:
    """Return the URL of a database; the first one's is the server's."""
    return server.database(number).url


def test_each_app_sends_to_its_own_broker(server: Redis, make: Callable[..., Celery]) -> None:
    """
    Tasks, groups and chords of both, in turns; one of them without the producer is Celery's.
    """
    for theirs in (True, False):
        for number in (0, 1):
            server.database(number).client.flushdb()
        apps = [
            make(
                url(server, number), ours=number == 0 or theirs, result_backend=url(server, number)
            )
            for number in (0, 1)
        ]
        expected: list[list[str]] = [[], []]
        for turn in range(10):
            for number, app in enumerate(apps):
                noop = app.tasks["noop"]
                expected[number].append(noop.delay(turn).id)
                sent = group(noop.s(one) for one in range(3)).apply_async()
                expected[number] += [one.id for one in sent.results]
                body = chord([noop.s(one) for one in range(2)], noop.s()).apply_async()
                expected[number] += [one.id for one in body.parent.results]
        found = [waiting(server, number) for number in (0, 1)]

        assert expected == [[message["headers"]["id"] for message in one] for one in found]
        assert all(sent_at(message) is not None for message in found[0])
        assert {theirs} == {sent_at(message) is not None for message in found[1]}


def test_results_are_read_where_each_app_keeps_them(
    server: Redis, make: Callable[..., Celery]
) -> None:
    """
    Under the same id, two results; a wait for one is not ended by the other.
    """
    apps = [make(url(server, number), result_backend=url(server, number)) for number in (0, 1)]
    results = [app.AsyncResult("same") for app in apps]
    apps[0].backend.store_result("same", "first", "SUCCESS")
    assert "first" == results[0].get(timeout=60)
    assert "PENDING" == results[1].state
    apps[1].backend.store_result("same", "second", "SUCCESS")

    assert ["first", "second"] == [one.get(timeout=60) for one in results]
    for one in results:
        one.forget()


def test_one_app_keeps_its_prefix_and_serializer(
    server: Redis, make: Callable[..., Celery]
) -> None:
    """
    Settings of one app do not reach the other, in one database.
    """
    plain = make(server.url)
    other = make(
        server.url,
        broker_transport_options={"global_keyprefix": "cl:"},
        task_serializer="pickle",
        accept_content=["json", "pickle"],
    )
    ids = [app.tasks["noop"].delay(1).id for app in (plain, other, plain, other)]
    client: Any = server.client
    lists = [
        [json.loads(text) for text in client.lrange(key, 0, -1)] for key in ("celery", "cl:celery")
    ]

    assert [{ids[0], ids[2]}, {ids[1], ids[3]}] == [
        {message["headers"]["id"] for message in one} for one in lists
    ]
    assert ["application/json", "application/x-python-serialize"] == [
        one[0]["content-type"] for one in lists
    ]
