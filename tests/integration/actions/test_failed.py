"""Failed tasks and dead letters are sent again or dropped, and the audit says who did it."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from task_server.actions import audit, failed
from task_server.monitor import failures
from task_server.monitor.failure import Failure
from task_server.producer import sent_at
from task_server.transport.store import failed_tasks
from task_server.transport.store.failed_tasks import Limits
from task_server.transport.store.keys import Keys
from tests.integration.transport.conftest import server, shared_server, start_redis
from tests.integration.transport.peers import Started

__all__ = ["server", "shared_server", "start_redis"]

KEYS = Keys()
WIDE = Limits(100_000, 1e6, 1 << 30)


@pytest.fixture
def client(server: Started) -> Iterator[redis.Redis]:
    """A client of an empty server."""
    with server.client() as one:
        yield one


def message(number: int, **headers: Any) -> dict[str, Any]:
    """Return a message."""
    return {
        "body": "W10=",
        "content-type": "application/json",
        "headers": {"task": "t", "id": f"id-{number}", "retries": 3, **headers},
        "properties": {"delivery_tag": f"tag-{number}", "reply_to": "me", "priority": 3},
    }


def fail(client: redis.Redis, number: int, text: str | None = None, **headers: Any) -> Failure:
    """Keep a failed task, and return it."""
    text = json.dumps(message(number, **headers)) if text is None else text
    record = {"id": f"id-{number}", "task": "t", "lists": ["q"], "text": text, "size": None}
    record["tag"] = f"tag-{number}"
    name = failed_tasks.name_of(f"id-{number}", f"tag-{number}")
    failed_tasks.keep(client, KEYS, WIDE, [(name, json.dumps(record))])
    found = failures.one(client, KEYS, name)
    assert found is not None
    return found


def queued(client: redis.Redis) -> list[dict[str, Any]]:
    return [json.loads(text) for text in client.lrange("q", 0, -1)]


def test_a_message_is_sent_as_it_was(client: redis.Redis) -> None:
    """
    With its retries, reply queue and priority, an ETA in the past and a chain; and recorded.
    """
    eta = {"eta": "2001-01-01T00:00:00+00:00", "stamps": {"a": [1]}}
    outcome = failed.retry(client, KEYS, [fail(client, 1, **eta)], "me")
    (entry,) = audit.entries(client, KEYS)

    assert (1, (), 0) == (outcome.done, outcome.refused, outcome.gone)
    assert [message(1, **eta)] == queued(client)
    assert 0 == failures.number(client, KEYS)
    assert ("me", "t[id-1]") == (entry.who, entry.on)
    assert "retry" in entry.action


def test_only_its_stamp_is_new(client: redis.Redis) -> None:
    """
    Otherwise its queue would seem to have waited since then.
    """
    before = time.time()
    failed.retry(client, KEYS, [fail(client, 1, **{"task-server-sent": [1e9, 3]})], "me")
    (sent,) = queued(client)

    assert before <= (sent_at(sent) or 0)
    assert message(1) == {**sent, "headers": {**sent["headers"], "task-server-sent": None}} | {
        "headers": {k: v for k, v in sent["headers"].items() if k != "task-server-sent"}
    }


@pytest.mark.parametrize("offset", ["", "+00:00"])
def test_one_that_has_expired_is_refused(client: redis.Redis, offset: str) -> None:
    """
    A worker would discard it, and nobody would know; without its time it can be sent.
    """
    past = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}{offset}"
    one = fail(client, 1, expires=past)
    refused = failed.retry(client, KEYS, [one], "me")
    left = failures.number(client, KEYS)
    sent = failed.retry(client, KEYS, [one], "me", expired=True)

    assert (0, 1) == (refused.done, left)
    assert "it expired at" in refused.refused[0][1]
    assert 1 == sent.done
    assert [message(1, expires=None)] == queued(client)


def test_one_that_expires_later_keeps_its_time(client: redis.Redis) -> None:
    """
    And one whose time nobody can read is sent as it is.
    """
    future = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"
    for number, value in enumerate((future, "soon", 7, {"a": 1})):
        failed.retry(client, KEYS, [fail(client, number, expires=value)], "me", expired=True)

    assert [{"a": 1}, 7, "soon", future] == [one["headers"]["expires"] for one in queued(client)]


def test_what_cannot_be_sent_says_why(client: redis.Redis) -> None:
    """
    A record without a message; one that a worker has still; a queue that is no list.
    """
    name = failed_tasks.name_of("large", "large")
    record = '{"id": "large", "size": 90000, "lists": ["q"]}'
    failed_tasks.keep(client, KEYS, WIDE, [(name, record)])
    busy, other = fail(client, 1), fail(client, 2)
    client.hset("unacked", "tag-1", "[]")
    client.set("q", "x")
    every = [*failures.named(client, KEYS, ["large"]), busy, other]
    outcome = failed.retry(client, KEYS, every, "me")
    reasons = {one.id: reason for one, reason in outcome.refused}

    assert (0, 0) == (outcome.done, outcome.gone)
    assert "no message is kept: it is too large (87 KiB)" == reasons["large"]
    assert failed.BUSY == reasons["id-1"]
    assert "WRONGTYPE" in reasons["id-2"]
    assert 3 == failures.number(client, KEYS)


def test_the_same_retry_twice_sends_once(client: redis.Redis) -> None:
    """
    The second finds it gone.
    """
    one = fail(client, 1)
    first = failed.retry(client, KEYS, [one], "me")
    second = failed.retry(client, KEYS, [one], "me")

    assert ((1, 0), (0, 1)) == ((first.done, first.gone), (second.done, second.gone))
    assert 1 == client.llen("q")


@pytest.mark.parametrize("text", ["{}", "[]", "7", "{", '{"headers": 7}', '{"headers": null}'])
def test_an_odd_message_is_sent_as_it_is(client: redis.Redis, text: str) -> None:
    """
    Whatever a producer wrote: a worker decides.
    """
    outcome = failed.retry(client, KEYS, [fail(client, 1, text=text)], "me")

    assert 1 == outcome.done
    assert [text.encode()] == client.lrange("q", 0, -1)


def test_both_kinds_are_dropped(client: redis.Redis) -> None:
    """
    In one line of the audit.
    """
    fail(client, 1)
    client.hset(KEYS.dead_letters, "dead", '{"id": "dead", "lists": ["q"], "text": "{}"}')
    outcome = failed.drop(client, KEYS, failures.matching(client, KEYS), "me")

    assert 2 == outcome.done
    assert [] == list(failures.matching(client, KEYS))
    assert 1 == len(audit.entries(client, KEYS))
    assert 0 == client.llen("q")
