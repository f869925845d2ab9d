"""Messages as other Celery clients write them: what stock Celery runs, runs here."""

import json
import signal
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.acceptance.worker.odd_messages import encoded, text
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import BOTH, POOLS, Worker

pytestmark = pytest.mark.slow


def old(name: str, **more: Any) -> dict[str, Any]:
    """Return the body of a task in protocol 1."""
    return {"id": f"id-{name}", "task": "odd.odd", "args": [name], "kwargs": {}, **more}


def new(name: str) -> list[Any]:
    """Return the body of a task in protocol 2."""
    return [[name], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


def around(body: str, **more: Any) -> dict[str, Any]:
    """Return a message with little in it."""
    return {
        "body": body,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": "tag",
            "delivery_info": {"exchange": "", "routing_key": "celery"},
        },
        **more,
    }


def properties(**more: Any) -> dict[str, Any]:
    return {**around("")["properties"], **more}


def ids(name: str, **more: Any) -> dict[str, Any]:
    return {"task": "odd.odd", "id": f"id-{name}", **more}


#: Each by the client that writes it so; an empty PHP array is a list.
MESSAGES: dict[str, dict[str, Any]] = {
    "php": around(
        encoded(old("php", retries=0, eta=None, expires=None, utc=True)),
        headers=[],
        properties=properties(
            delivery_tag="id-php",
            reply_to="id-php",
            delivery_mode=2,
            delivery_info={"priority": 0, "routing_key": "celery", "exchange": "celery"},
        ),
    ),
    "go": around(
        encoded(old("go", retries=0, eta=None, expires=None)),
        properties=properties(
            correlation_id="c",
            reply_to="r",
            delivery_mode=2,
            delivery_info={"priority": 0, "routing_key": "celery", "exchange": "celery"},
        ),
    ),
    "node": around(
        encoded(new("node")),
        headers=ids("node", lang="js"),
        properties=properties(
            correlation_id="id-node",
            reply_to="",
            delivery_mode=2,
            priority=0,
            delivery_info={"exchange": None, "routing_key": "celery"},
        ),
    ),
    "rust": around(
        encoded(new("rust")),
        headers=ids("rust", lang="rust", root_id=None, timelimit=[None, None], origin="gen@rust"),
        properties=properties(correlation_id="id-rust", reply_to=None),
    ),
    "integer-tag": around(
        encoded(new("integer-tag")),
        headers=ids("integer-tag"),
        properties=properties(delivery_tag=7),
    ),
    "the-same-tag": around(
        encoded(new("the-same-tag")),
        headers=ids("the-same-tag"),
        properties=properties(delivery_tag=7),
    ),
    "large-tag": around(
        encoded(new("large-tag")),
        headers=ids("large-tag"),
        properties=properties(delivery_tag=2**60 + 1),
    ),
    "empty-tag": around(
        encoded(new("empty-tag")), headers=ids("empty-tag"), properties=properties(delivery_tag="")
    ),
    "snowman-tag": around(
        encoded(new("snowman-tag")),
        headers=ids("snowman-tag"),
        properties=properties(delivery_tag="\u2603"),
    ),
    "no-encoding": around(
        json.dumps(new("no-encoding")),
        headers=ids("no-encoding"),
        properties={
            "delivery_tag": "t",
            "delivery_info": {"exchange": "celery", "routing_key": "celery"},
        },
    ),
    "null-headers": around(encoded(old("null-headers")), headers=None),
    "old-in-headers": around(
        encoded(new("old-in-headers")),
        headers=ids("old-in-headers", eta=None, retries="0", argsrepr=5, kwargsrepr=None, lang=5),
    ),
    "an-id-that-is-a-number": around(encoded({**old("an-id-that-is-a-number"), "id": 5})),
}


#: With Kombu's transport they are a lost connection, and then lost.
MORE: dict[str, dict[str, Any]] = {
    "no-delivery-info": around(
        encoded(new("no-delivery-info")),
        headers=ids("no-delivery-info"),
        properties={"delivery_tag": "u", "body_encoding": "base64"},
    ),
    "empty-delivery-info": around(
        encoded(new("empty-delivery-info")),
        headers=ids("empty-delivery-info"),
        properties=properties(delivery_info={}),
    ),
}


def put(broker: Redis, messages: Iterable[bytes]) -> None:
    with broker.client.pipeline() as pipe:
        for message in messages:
            pipe.lpush("celery", message)
        pipe.execute()


def ran(worker: Worker) -> list[str]:
    """Return the names that the task was called with, in alphabetical order."""
    lines = [line.split() for line in worker.log.read_text().splitlines()]
    return sorted(words[2] for words in lines if words[0] == "odd")


@pytest.mark.parametrize("pool", POOLS)
@BOTH
def test_what_stock_celery_runs_runs(
    pool: str, transport: str, broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    Each message runs once and is acknowledged, with Kombu's transport and with ours.
    """
    messages = MESSAGES if transport == "kombu" else MESSAGES | MORE
    worker = start(pool, app="odd")
    worker.hear("READY=1")
    put(broker, [text(message) for message in messages.values()])
    until(lambda: len(ran(worker)) >= len(messages))
    until(lambda: broker.unacked() == broker.queued() == 0)

    # With Kombu's, one that has another's tag can run twice.
    assert sorted(messages) == (sorted({*ran(worker)}) if transport == "kombu" else ran(worker))
    assert 0 == broker.client.llen("unacked.unreadable")


def unusual() -> list[bytes]:
    """Return good messages for later whose text Python's JSON would write in another way."""
    found = []
    for number, extra in enumerate(
        (
            b'"x": 1152921504606846977',
            b'"x": 1e2',
            b'"x": NaN',
            b'"x": -Infinity',
            b'"x": 1.10',
            '"x": "\u2603 raw"'.encode(),
            b'"x": "\\u2603 \\/ \\ud83d"',
            b'"x": 1, "x": 2',
            b'"x" :\t{ }',
        )
    ):
        message = around(encoded(new(f"unusual-{number}")), headers=ids(f"unusual-{number}"))
        message["properties"]["delivery_tag"] = f"tag-{number}"
        message["headers"]["eta"] = "2100-01-01T00:00:00+00:00" if number % 2 else None
        found.append(text(message)[:-1] + b", " + extra + b"}" + b"\n" * (number % 3))
    return found


@pytest.mark.parametrize("pool", POOLS)
def test_a_stop_gives_back_what_was_taken(
    pool: str, broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    What has not started is in the queue again byte for byte: numbers, order of keys, line ends.
    """
    worker = start(pool, app="odd", concurrency=1, prefetch_multiplier=64, delay_seconds=0)
    worker.hear("READY=1")
    put(broker, [text(around(encoded(new("")), headers=ids("slow", task="odd.slow")))])
    until(lambda: "slow" in worker.log.read_text())
    messages = [text(message) for message in (MESSAGES | MORE).values()] + unusual()
    put(broker, messages)
    until(lambda: broker.unacked() > len(messages))
    worker.send(signal.SIGTERM)

    assert 0 == worker.wait()
    assert 0 == broker.unacked(), worker.output()
    assert sorted(messages) == sorted(broker.client.lrange("celery", 0, -1))
    assert [] == ran(worker)


@pytest.mark.parametrize("pool", POOLS)
def test_what_a_killed_worker_had_runs(
    pool: str, broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    The same messages come back from a worker that was killed before it began them.
    """
    worker = start(pool, app="odd", concurrency=1, prefetch_multiplier=64)
    worker.hear("READY=1")
    put(broker, [text(around(encoded(new("")), headers=ids("slow", task="odd.slow")))])
    until(lambda: "slow" in worker.log.read_text())
    messages = MESSAGES | MORE
    put(broker, [text(message) for message in messages.values()])
    until(lambda: broker.unacked() == len(messages) + 1)
    worker.send_group(signal.SIGKILL)
    worker.wait()
    other = start(pool, app="odd")
    other.hear("READY=1")
    until(lambda: len(ran(other)) >= len(messages))
    until(lambda: broker.unacked() == 0)

    assert sorted(messages) == ran(other)
