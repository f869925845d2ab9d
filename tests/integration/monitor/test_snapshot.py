"""A snapshot of whatever lies in Redis: forged, of another type, forbidden, or a great deal."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from task_server.monitor import Snapshot, snapshot, undelivered
from task_server.monitor.troubles import Limits, troubles
from task_server.transport.store import stops, workers
from task_server.transport.store.keys import Keys
from tests.integration.transport.peers import Started, user

KEYS = Keys()
HOLDER = {"node": "w@h", "pid": 7, "taken": 1.5e9, "run": "r", "lease": 30}


def message(tag: str, **fields: object) -> dict[str, object]:
    """Return a message as Kombu writes it."""
    return {
        "body": "W10=",
        "headers": {"task": "proj.work", "id": tag, **fields},
        "properties": {"delivery_tag": tag, "body_encoding": "base64"},
    }


def entry(tag: str, queue: str = "celery", **fields: object) -> str:
    """Return the entry of a message that a worker of ours has."""
    owned = {**message(tag, **fields), "taken_from": queue, "holder": HOLDER}
    return json.dumps([owned, "", queue])


@pytest.fixture
def client(server: Started) -> Iterator[redis.Redis]:
    """A client of an empty server."""
    with server.client() as one:
        one.flushall()
        yield one


def look(client: redis.Redis, *names: str) -> Snapshot:
    return snapshot(client, KEYS, names)


def test_an_empty_server(client: redis.Redis) -> None:
    """
    A queue that is only known by name has nothing, and its age is 0.
    """
    found = look(client, "celery")

    (queue,) = found.queues
    assert (0, 0, 0.0, True) == (
        *(queue.length, queue.in_flight),
        *(queue.oldest.seconds, queue.oldest.is_exact),
    )
    assert ((), 0, 0, {}) == (found.workers, found.in_flight, found.dead, found.troubles)


def test_waiting_by_priority_and_delayed(client: redis.Redis) -> None:
    """
    Each priority has its own list, and its own sorted set of delayed tasks.
    """
    now = client.time()[0]
    client.rpush("celery", "1", "2")
    client.rpush("celery\x06\x169", "3")
    client.zadd("unacked.delayed:celery", {"a": now + 30, "b": now + 7200})
    client.zadd("unacked.delayed:celery\x06\x169", {"c": now + 7200})
    (queue,) = look(client, "celery").queues

    assert {0: 2, 9: 1} == queue.waiting
    assert (3, 1) == (queue.delayed, queue.due_soon)


def test_an_age_counts_from_when_a_task_was_due(client: redis.Redis) -> None:
    """
    A task that was delayed did not wait in its queue; a stamp of another try is none.
    """
    now = client.time()[0]
    ago = f"{now - 60}"
    stamped = {"task-server-sent": [now - 7200, 0]}
    client.rpush("sent", json.dumps(message("a", **stamped)))
    due = json.dumps(message("b", **stamped, eta="2001-01-01T00:00:00+00:00"))
    client.rpush("due", due)
    client.rpush("retried", json.dumps(message("c", **stamped, retries=1)))
    client.rpush("sentry", json.dumps(message("d", **{"sentry-task-enqueued-time": now - 60})))
    client.rpush("large", json.dumps(message("e", **stamped, ballast="x" * 100_000)))
    found = {queue.name: queue.oldest for queue in look(client, *_QUEUES).queues}

    assert {"sent", "due", "sentry", "large"} == {
        name for name, age in found.items() if age is not None and age.is_exact
    }
    assert 7200 <= found["sent"].seconds < 7300
    assert 7200 <= found["large"].seconds < 7300
    assert 60 <= found["sentry"].seconds < 160, ago
    assert found["retried"].seconds < 100


@pytest.mark.parametrize("stamp", [{}, {"task-server-sent": [1e9, 0]}], ids=["stock", "stamped"])
def test_a_task_that_is_due_later_does_not_wait(
    client: redis.Redis, stamp: dict[str, object]
) -> None:
    """
    In its list it has lain since long, where no worker has come to take it out of that.
    """
    later = json.dumps(message("a", eta="2100-01-01T00:00:00+00:00", **stamp))
    client.rpush("q", later)
    look(client, "q")
    # As if somebody had seen it first in 1970.
    mark: Any = client.hget("unacked.tails", "q")
    client.hset("unacked.tails", "q", mark.split()[0] + b" 1.0")
    (queue,) = look(client, "q").queues

    assert queue.oldest is not None
    assert 0 == queue.oldest.seconds


_QUEUES = ("sent", "due", "retried", "sentry", "large")


def test_dead_letters_and_unreadable_messages_by_queue(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Of each queue by itself, unless there are too many of all.
    """
    monkeypatch.setattr(undelivered, "SECONDS", 60.0)
    for number in range(3):
        record = json.dumps(
            {"queue": "a" if number else "b", "task": "t", "text": "{}", "at": number}
        )
        client.hset("unacked.dead", f"tag-{number}", record)
    client.rpush("unacked.unreadable", "x", "y")
    for number, where in enumerate(("a\x06\x163", "b")):
        client.hset(
            "unacked.unreadable.reasons",
            f"sha {number}",
            json.dumps({"list": where, "reason": f"odd {number}"}),
        )
    client.hset("unacked.unreadable.reasons", "odd", "[1]")
    told = {each.what: each.message for each in troubles(look(client, "a", "b"), Limits())}
    few = {queue.name: (queue.dead, queue.unreadable) for queue in look(client, "a", "b").queues}
    letters = {f"more {number}": json.dumps({"queue": "b"}) for number in range(2_000)}
    client.hset("unacked.dead", mapping=letters)
    many = {queue.name: queue.dead for queue in look(client, "a", "b").queues}
    monkeypatch.setattr(undelivered, "MOST", 2_000)
    (more,) = look(client, "a").queues
    monkeypatch.setattr(undelivered, "MOST", 10_000)
    monkeypatch.setattr(undelivered, "SECONDS", 0.0)
    (slow,) = look(client, "a").queues

    assert {"a": (2, 1), "b": (1, 1)} == few
    assert told["dead letters"].startswith("3 of a, b: they crashed their workers, or no code ")
    assert 3 == told["dead letters"].count("t[")
    assert "2 of a, b cannot be delivered: odd 0, odd 1" == told["unreadable"]
    assert {"a": 2, "b": 2_001} == many
    assert (None, 1) == (more.dead, more.unreadable)
    assert (None, 1) == (slow.dead, slow.unreadable)


def test_unreadable_messages_that_are_the_same(client: redis.Redis) -> None:
    """
    They have one reason: of one queue they are all its own, of two that is not known.
    """
    client.rpush("unacked.unreadable", *["x"] * 5)
    client.hset("unacked.unreadable.reasons", "sha 1", json.dumps({"list": "a"}))
    one = {queue.name: queue.unreadable for queue in look(client, "a", "b").queues}
    client.hset("unacked.unreadable.reasons", "sha 2", json.dumps({"list": "b"}))
    two = {queue.name: queue.unreadable for queue in look(client, "a", "b").queues}

    assert ({"a": 5, "b": 0}, {"a": None, "b": None}) == (one, two)


FORGED = [
    "",
    "{",
    "[]",
    "[1, 2]",
    "[{}]",
    '[{"headers": [], "holder": 7, "taken_from": []}, 1, {}]',
    '[{"headers": {"task": {"a": 1}, "id": NaN}, "holder": {"node": [], "pid": "x"}}]',
    '[{"holder": {"node": "n", "pid": 1e300, "lease": "long", "taken": -1e300, "run": 5}}, "", ""]',
    "[" * 2000,
    json.dumps([{"body": "x" * 200_000, "holder": HOLDER}, "", "q"]),
]


def test_forged_entries_and_workers_do_no_harm(client: redis.Redis) -> None:
    """
    Anyone who can write to Redis can write them: what can be read is shown.
    """
    for number, text in enumerate(FORGED):
        client.hset("unacked", f"tag-{number}", text)
        client.hset("unacked.workers", f"run-{number}", text)
        client.hset("unacked.workers", f"other-{number}", '{"at": 1e9, "pid": %s}' % (text or 0))
        client.hset("unacked.tails", f"celery{number}", text)
        client.rpush(f"celery{number}", text)
    client.hset("unacked", "good", entry("good"))
    client.hset("unacked.workers", "odd", '{"at": 1e9, "queues": 7, "running": [[1, 2, 3], 4]}')
    stopped = '[[1, 1e99, ""], [1, 2], 3, [8, 3, "good"]]'
    forged = '{"at": 1e9, "node": "w@h", "pids": {"t": []}, "unready": 4, "stopped": %s}'
    client.hset("unacked.workers", "stopped", forged % stopped)
    names = [f"celery{number}" for number in range(len(FORGED))]
    found = look(client, *names, "celery")

    assert len(FORGED) + 1 == found.in_flight
    assert [(8, 1e9 - 3)] == [
        (each.pid, each.since) for worker in found.workers for each in worker.stopped
    ]
    assert ["good"] == [
        one.id for worker in found.workers for one in worker.in_flight if one.id == "good"
    ]
    assert {1} == {queue.length for queue in found.queues if queue.name in names}
    assert troubles(found, Limits())


def test_keys_of_another_type(client: redis.Redis) -> None:
    """
    Each is said, and hides nothing else.
    """
    client.rpush("good", "1")
    for key in ("unacked", "unacked_index", "unacked.workers", "unacked.dead", "unacked.looks"):
        client.set(key, "x")
    client.set("unacked.unreadable", "x")
    client.set("bad", "x")
    found = look(client, "good", "bad")

    assert {"messages in flight", "workers", "dead letters", "unreadable messages"} == set(
        found.troubles
    )
    by_name = {queue.name: queue for queue in found.queues}
    assert (1, "") == (by_name["good"].length, by_name["good"].trouble)
    assert "is no list" in by_name["bad"].trouble
    assert by_name["bad"].oldest is None


def test_a_user_who_may_only_look(server: Started, client: redis.Redis) -> None:
    """
    Without the right to write, or to ask about the server: less is known, and said.
    """
    client.rpush("celery", "1")
    client.hset("unacked", "a", entry("a"))
    rules = ("~*", "&*", "+@read", "+eval", "+evalsha", "+time", "+scan", "-info")
    with user(server, *rules) as url, redis.Redis.from_url(url) as limited:
        found = look(limited, "celery")

    (queue,) = found.queues
    assert (1, 1) == (queue.length, queue.in_flight)
    assert {"the server"} == set(found.troubles)


def test_a_prefix_and_other_priorities(client: redis.Redis) -> None:
    """
    The keys are those of the project's transport options.
    """
    keys = Keys(unacked="p.unacked", times="p.unacked_index", prefix="p.", priority_steps=(0, 5))
    keys = Keys(**{**_fields(keys), "binding": "p._kombu.binding.%s"})
    client.rpush("p.celery", "1")
    client.rpush("p.celery\x06\x165", "2")
    client.sadd("p._kombu.binding.celery", "celery\x06\x16\x06\x16celery")
    client.sadd("_kombu.binding.other", "other\x06\x16\x06\x16other")
    client.hset("p.unacked", "a", entry("a", "p.celery"))
    found = snapshot(client, keys)

    assert [("celery", {0: 1, 5: 1}, 1)] == [
        (queue.name, queue.waiting, queue.in_flight) for queue in found.queues
    ]


def _fields(keys: Keys) -> dict[str, object]:
    return {name: getattr(keys, name) for name in keys.__dataclass_fields__}


def test_a_worker_that_came_back_replaces_what_it_was(client: redis.Redis) -> None:
    """
    A former process of the same node is shown while it still has messages.
    """
    old = json.dumps({"at": 1e9, "node": "w@h", "state": "ready"})
    client.hset("unacked.workers", "r", old)
    workers.register(client, KEYS, "new", {"node": "w@h", "state": "ready", "interval": 5})
    client.hset("unacked", "a", entry("a"))
    with_messages = [one.state for one in look(client).workers]
    client.delete("unacked")
    without = [one.state for one in look(client).workers]

    assert ["ready", "silent"] == sorted(filter(None, with_messages))
    assert ["ready"] == without


def test_those_that_are_long_gone_are_removed_at_the_next_start(client: redis.Redis) -> None:
    """
    After a day; others, and what cannot be read, as soon as a worker registers first.
    """
    now = client.time()[0]
    client.hset("unacked.workers", "gone", json.dumps({"at": now - 90_000}))
    client.hset("unacked.workers", "recent", json.dumps({"at": now - 3_600}))
    client.hset("unacked.workers", "odd", "?")
    workers.register(client, KEYS, "new", {"node": "c"}, first=True)

    assert {b"recent", b"new"} == set(client.hkeys("unacked.workers"))


def test_ten_thousand_in_flight_are_read_in_small_steps(client: redis.Redis) -> None:
    """
    Each is described once, whatever its size, and no call reads more than some hundred.
    """
    with client.pipeline(transaction=False) as pipe:
        for number in range(10_000):
            pipe.hset("unacked", f"tag-{number}", entry(f"tag-{number}"))
        pipe.hset("unacked", "large", entry("large", ballast="x" * 2_000_000))
        pipe.execute()
    client.config_resetstat()
    found = look(client)
    calls = client.info("commandstats")["cmdstat_hscan"]["calls"]

    (worker,) = found.workers
    assert 10_001 == found.in_flight == len({one.tag for one in worker.in_flight})
    assert calls > 10_000 / 1_100


def test_a_drained_worker_takes_from_no_queue(client: redis.Redis) -> None:
    """
    From when it is drained, whatever it has said of itself last; one that does not obey does.
    """
    for node, obeys in (("a@h", True), ("b@h", True), ("old@h", False)):
        values = {"node": node, "state": "ready", "queues": ["celery"], "stops": obeys}
        workers.register(client, KEYS, node, values)
    before = look(client).queues[0].consumers
    stops.put(client, KEYS.drained, ["a@h", "old@h"], "me")
    (queue,) = look(client).queues

    assert ("a@h", "b@h", "old@h") == before
    assert ("b@h", "old@h") == queue.consumers
