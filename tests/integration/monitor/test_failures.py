"""Failed tasks and dead letters as one list: pages, filters, counts, and what is forged."""

import json
from collections.abc import Iterator

import pytest
import redis

from task_server.monitor import failures, snapshot
from task_server.monitor.failure import EVERY, Failure, Filter
from task_server.transport.store import failed_tasks
from task_server.transport.store.failed_tasks import Limits
from task_server.transport.store.keys import Keys
from tests.integration.transport.peers import Started

KEYS = Keys()
WIDE = Limits(100_000, 1e10, 1 << 30)


@pytest.fixture
def client(server: Started) -> Iterator[redis.Redis]:
    """A client of an empty server."""
    with server.client() as one:
        yield one


def fail(client: redis.Redis, number: int, at: float | None = None, **values: object) -> None:
    """Keep a failed task; *at* is when it failed, unless that is now."""
    name = failed_tasks.name_of(f"id-{number}", f"tag-{number}")
    fields = {"id": f"id-{number}", "task": "mail.send", "queue": "celery", "error": "ValueError"}
    failed_tasks.keep(client, KEYS, WIDE, [(name, json.dumps({**fields, **values}))])
    if at is not None:
        client.zadd(KEYS.failed_times, {name: at})


def bury(client: redis.Redis, number: int, at: float, **values: object) -> None:
    """Have a dead letter."""
    text = json.dumps({"headers": {"argsrepr": "(1,)", "kwargsrepr": "{'token': 'x'}"}})
    deaths = [{"node": "w@h", "pid": 7, "reason": "child died", "at": at}]
    fields = {"id": f"id-{number}", "task": "pdf.read", "queue": "q", "lists": ["q"], "text": text}
    record = {**fields, "at": at, "deaths": deaths, **values}
    client.hset(KEYS.dead_letters, f"tag-{number}", json.dumps(record))


def ids(found: tuple[Failure, ...] | list[Failure]) -> list[str]:
    return [one.id for one in found]


def test_both_kinds_are_one_list(client: redis.Redis) -> None:
    """
    The newest first, whatever they are; a dead letter says what Celery would.
    """
    fail(client, 1, at=1e9)
    bury(client, 2, at=2e9)
    fail(client, 3, at=3e9)
    found = failures.page(client, KEYS)
    crashed = found.failures[1]

    assert (["id-3", "id-2", "id-1"], "") == (ids(found.failures), found.after)
    assert ["failed", "crashed", "failed"] == [one.reason for one in found.failures]
    assert ("WorkerLostError", "w@h", 7, 1, "(1,)", "{'token': '********'}") == (
        *(crashed.error, crashed.worker, crashed.pid, crashed.tries),
        *(crashed.args, crashed.kwargs),
    )
    assert crashed.has_message
    assert ["id-2"] == ids(failures.page(client, KEYS, Filter(crashed=True)).failures)
    assert 2 == failures.number(client, KEYS) == snapshot(client, KEYS).failed


def test_pages_have_each_once(client: redis.Redis) -> None:
    """
    Also those that failed at the same moment, and while new ones come.
    """
    for number in range(25):
        fail(client, number, at=1e9 + number // 5)
    after, seen = "", []
    for number in range(100, 110):
        found = failures.page(client, KEYS, EVERY, after, 3)
        seen += ids(found.failures)
        fail(client, number, at=2e9)
        after = found.after
        if not after:
            break

    assert 25 == len(seen) == len(set(seen))
    assert "id-24" == seen[0]
    assert {"id-0", "id-1", "id-2", "id-3", "id-4"} == set(seen[-5:])


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Filter(task="mail.send"), {1, 2}),
        (Filter(task="mail.*"), {1, 2, 3}),
        (Filter(task="*.read"), {4, 5}),
        (Filter(error="Timeout"), {2}),
        (Filter(error="requests.*"), {2}),
        (Filter(error="requests.exceptions.Timeout"), {2}),
        (Filter(error="of 30 s"), {2}),
        (Filter(error="WorkerLostError"), {5}),
        (Filter(argument="customer-17"), {3}),
        (Filter(queue="io_bound"), {4}),
        (Filter(since=2e9), {2, 3, 4, 5}),
        (Filter(until=2e9), {1, 2}),
        (Filter(since=2e9, until=3e9, task="mail.*"), {2, 3}),
        (Filter(crashed=True), {5}),
        (Filter(crashed=True, task="mail.*"), set()),
    ],
)
def test_a_filter(client: redis.Redis, chosen: Filter, expected: set[int]) -> None:
    """
    All of it applies.
    """
    fail(client, 1, at=1e9)
    error = {"error": "requests.exceptions.Timeout", "reason": "no answer of 30 s"}
    fail(client, 2, at=2e9, **error)
    fail(client, 3, at=3e9, task="mail.clean", kwargs="{'of': 'customer-17'}")
    fail(client, 4, at=4e9, task="web.read", queue="io_bound")
    bury(client, 5, at=5e9)
    found = failures.matching(client, KEYS, chosen)

    assert {f"id-{number}" for number in expected} == {one.id for one in found}


def test_those_that_are_named(client: redis.Redis) -> None:
    """
    By id, of which a task may have failed more than once, or by key.
    """
    fail(client, 1, at=1e9)
    name = failed_tasks.name_of("id-1", "another")
    failed_tasks.keep(client, KEYS, WIDE, [(name, '{"id": "id-1"}')])
    bury(client, 2, at=2e9)
    both = failures.named(client, KEYS, ["id-1", "id-2", "gone"])

    assert ["id-1", "id-1", "id-2"] == sorted(ids(both))
    assert name == failures.one(client, KEYS, "id-1").key
    assert "id-1 tag-1" == failures.one(client, KEYS, "id-1 tag-1").key
    assert "tag-2" == failures.one(client, KEYS, "tag-2").key
    assert failures.one(client, KEYS, "gone") is None
    assert ["id-2"] == ids(failures.named(client, KEYS, ["id-1", "id-2"], crashed=True))


def test_counts_by_task_and_error(client: redis.Redis) -> None:
    """
    The most first, with the time of the last.
    """
    for number in range(3):
        fail(client, number, at=1e9 + number)
    fail(client, 7, at=9e8, error="OSError")
    bury(client, 8, at=2e9)
    found = failures.counts(client, KEYS)

    assert ("mail.send", "ValueError", 3, 1e9 + 2) == (
        *(found[0].task, found[0].error, found[0].number, found[0].last),
    )
    assert {("mail.send", "OSError", 1), ("pdf.read", "WorkerLostError", 1)} == {
        (one.task, one.error, one.number) for one in found[1:]
    }


def test_forged_ones_hide_no_other(client: redis.Redis) -> None:
    """
    Anyone who can write to Redis can write one, or a page to begin with.
    """
    fail(client, 1, at=1e9)
    for number, text in enumerate((b"", b"[]", b"\xff", b'{"id": [], "text": {}}', b"[" * 9999)):
        client.hset(KEYS.failed, f"forged {number}", text)
        client.zadd(KEYS.failed_times, {f"forged {number}": float("-inf") if number else 2e20})
        client.hset(KEYS.dead_letters, f"forged-{number}", text)
    for after in ("", "x", "[1]", '["a", "b"]', "{}", "[" * 9999, "[1e999, 5]"):
        assert "id-1" in ids(failures.page(client, KEYS, EVERY, after).failures)
    assert failures.counts(client, KEYS)


def test_ten_thousand_are_read_in_small_steps(client: redis.Redis) -> None:
    """
    A page of the last reads no more than its own.
    """
    records = [(f"id-{n} t", json.dumps({"id": f"id-{n}", "task": "t"})) for n in range(10_000)]
    failed_tasks.keep(client, KEYS, WIDE, records)
    client.config_resetstat()
    found = failures.page(client, KEYS, EVERY, "", 10)
    calls = client.info("commandstats")["cmdstat_hmget"]["calls"]

    assert 10 == len(found.failures)
    assert 1 == calls
    assert 10_000 == sum(one.number for one in failures.counts(client, KEYS))
