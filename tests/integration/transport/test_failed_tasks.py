"""Failed tasks in Redis: their bounds, to the byte; retried once; whatever lies in their keys."""

import json
from collections.abc import Iterator, Sequence

import pytest
import redis

from task_server.transport.store import failed_tasks
from task_server.transport.store.failed_tasks import FailedTask, Limits
from task_server.transport.store.keys import Keys
from tests.integration.transport.peers import Started, user

KEYS = Keys()
WIDE = Limits(1_000_000, 1e6, 1 << 30)


@pytest.fixture
def client(server: Started) -> Iterator[redis.Redis]:
    """A client of an empty server."""
    with server.client() as one:
        yield one


def record(number: int, size: int = 0, **values: object) -> tuple[str, str]:
    """Return the name and the record of a failed task."""
    text = json.dumps({"properties": {"delivery_tag": f"tag-{number}"}, "body": "x" * size})
    fields = {"id": f"id-{number}", "task": "t", "lists": ["q"], "tag": f"tag-{number}"}
    name = failed_tasks.name_of(f"id-{number}", f"tag-{number}")
    return name, json.dumps({**fields, "text": text, **values})


def keep(client: redis.Redis, limits: Limits, *records: tuple[str, str]) -> None:
    failed_tasks.keep(client, KEYS, limits, records)


def kept(client: redis.Redis) -> list[FailedTask]:
    """Return all that is kept, the oldest first."""
    return list(failed_tasks.read(client, KEYS, [name for name, _ in names(client)]))


def names(client: redis.Redis) -> Sequence[tuple[str, float]]:
    return failed_tasks.names(client, KEYS)


def counted(client: redis.Redis) -> int:
    """Return the bytes that the third key says."""
    return int(client.hget("unacked.failed.about", "bytes") or -1)


def true_size(client: redis.Redis) -> int:
    """Return the bytes of all names and records."""
    return sum(len(name) + len(text) for name, text in client.hgetall("unacked.failed").items())


def test_a_failed_task_is_read_as_it_was_written(client: redis.Redis) -> None:
    """
    With the server's time, and each field that it has.
    """
    before = client.time()[0]
    keep(client, WIDE, record(1, error="ValueError", tries=3, started=1.5, pid=7, node="n"))
    (one,) = kept(client)

    assert ("id-1", "t", "ValueError", 3, 1.5, 7, "n", ("q",), "tag-1") == (
        *(one.id, one.task, one.error, one.tries, one.started, one.pid, one.node),
        *(one.lists, one.tag),
    )
    assert before <= one.at <= client.time()[0] + 1
    assert one.is_whole
    assert [("id-1 tag-1", one.at)] == [(name, pytest.approx(at)) for name, at in names(client)]


def test_the_oldest_go_first(client: redis.Redis) -> None:
    """
    Of too many exactly as many as are too many, also where one call brings more than the bound.
    """
    for number in range(7):
        keep(client, Limits(5, 1e6, 1 << 30), record(number))
    after_each = [one.id for one in kept(client)]
    keep(client, Limits(5, 1e6, 1 << 30), *map(record, range(10, 30)))

    assert [f"id-{number}" for number in range(2, 7)] == after_each
    assert 5 == failed_tasks.count(client, KEYS) == len(names(client))
    assert {f"id-{number}" for number in range(25, 30)} == {one.id for one in kept(client)}


def test_bytes_are_counted_exactly(client: redis.Redis) -> None:
    """
    The bound holds to the byte, and what is counted is what lies there.
    """
    limits = Limits(1_000, 1e6, 10_000)
    for number in range(50):
        keep(client, limits, record(number, size=number * 60))
        assert true_size(client) == counted(client) <= 10_000
    sizes = [len(one.name) + len(one.record) for one in kept(client)]
    newest = [one.id for one in kept(client)]

    # One more would have been too many.
    assert sum(sizes) + len(record(50 - len(sizes) - 1, (50 - len(sizes) - 1) * 60)[1]) > 10_000
    assert [f"id-{number}" for number in range(50 - len(sizes), 50)] == newest


def test_one_that_is_larger_than_the_bound_is_not_kept(client: redis.Redis) -> None:
    """
    Nor anything that is older: the bound is never exceeded.
    """
    limits = Limits(10, 1e6, 1_000)
    keep(client, limits, record(1))
    keep(client, limits, record(2, size=5_000))

    assert [] == kept(client)
    assert 0 == counted(client)
    keep(client, limits, record(3))
    assert ["id-3"] == [one.id for one in kept(client)]


def test_the_old_go_with_the_next(client: redis.Redis) -> None:
    """
    Those that are older than the bound go when another comes; without one all keys expire.
    """
    keep(client, WIDE, record(1), record(2))
    now = client.time()[0]
    client.zadd("unacked.failed.times", {"id-1 tag-1": now - 100})
    keep(client, Limits(10, 50, 1 << 30), record(3))

    assert {"id-2", "id-3"} == {one.id for one in kept(client)}
    assert true_size(client) == counted(client)
    for key in ("unacked.failed", "unacked.failed.times", "unacked.failed.about"):
        assert 40 <= client.ttl(key) <= 50


def test_one_that_fails_again_replaces_itself(client: redis.Redis) -> None:
    """
    A message that is delivered twice, or was retried, has one record: the last.
    """
    for tries in (1, 2, 3):
        keep(client, WIDE, record(1, size=tries * 10, tries=tries))

    assert [3] == [one.tries for one in kept(client)]
    assert true_size(client) == counted(client)


def test_one_that_fails_twice_in_one_call_is_counted_once(client: redis.Redis) -> None:
    """
    The last record counts, whatever lay there before.
    """
    keep(client, WIDE, record(1, size=500))
    keep(client, WIDE, record(1, tries=1), record(2), record(1, size=90, tries=2))

    assert {"id-1": 2, "id-2": None} == {one.id: one.tries for one in kept(client)}
    assert true_size(client) == counted(client)


def test_what_somebody_deleted_is_counted_anew(client: redis.Redis) -> None:
    """
    Whichever of the keys is missing, the next failure is kept and the count is right.
    """
    for key in ("unacked.failed.about", "unacked.failed", "unacked.failed.times"):
        keep(client, WIDE, record(1), record(2))
        client.delete(key)
        keep(client, Limits(10, 1e6, 1 << 20), record(3))
        keep(client, Limits(1, 1e6, 1 << 20), record(4))

        assert ["id-4"] == [one.id for one in kept(client)]
        assert true_size(client) == counted(client)


def test_a_retry_sends_once(client: redis.Redis) -> None:
    """
    The message is in its list as it was, and the record gone; the second retry finds none.
    """
    keep(client, WIDE, record(1), record(2))
    (one, _) = kept(client)
    first = failed_tasks.retry(client, KEYS, [(one, one.text)])
    second = failed_tasks.retry(client, KEYS, [(one, one.text)])

    assert ({one.name}, set()) == (first.done, second.done)
    assert [one.text.encode()] == client.lrange("q", 0, -1)
    assert ["id-2"] == [each.id for each in kept(client)]
    assert true_size(client) == counted(client)


def test_a_retry_of_an_older_record_sends_nothing(client: redis.Redis) -> None:
    """
    One that has failed again since it was read is another record.
    """
    keep(client, WIDE, record(1))
    (old,) = kept(client)
    keep(client, WIDE, record(1, tries=2))
    moved = failed_tasks.retry(client, KEYS, [(old, old.text)])

    assert (set(), set(), {}) == (set(moved.done), set(moved.busy), dict(moved.problems))
    assert 0 == client.llen("q")
    assert 1 == failed_tasks.count(client, KEYS)


def test_one_whose_message_a_worker_has_is_not_sent(client: redis.Redis) -> None:
    """
    It is not acknowledged yet: it would run twice. Dropping it does no harm.
    """
    keep(client, WIDE, record(1))
    client.hset("unacked", "tag-1", "[]")
    (one,) = kept(client)
    moved = failed_tasks.retry(client, KEYS, [(one, one.text)])
    left = failed_tasks.count(client, KEYS)
    dropped = failed_tasks.drop(client, KEYS, [one])

    assert ({one.name}, set()) == (moved.busy, moved.done)
    assert (1, 0) == (left, client.llen("q"))
    assert {one.name} == dropped.done


def test_a_queue_of_another_type_keeps_its_task(client: redis.Redis) -> None:
    """
    What cannot be sent stays, and says why; the others go.
    """
    keep(client, WIDE, record(1, lists=["bad"]), record(2))
    client.set("bad", "x")
    every = kept(client)
    moved = failed_tasks.retry(client, KEYS, [(one, one.text) for one in every])

    assert {"id-2 tag-2"} == moved.done
    assert "WRONGTYPE" in moved.problems["bad"]
    assert ["id-1"] == [one.id for one in kept(client)]


def test_without_memory_nothing_is_kept_and_what_is_there_can_go(client: redis.Redis) -> None:
    """
    A failure is refused, and changes nothing; a retry, which needs no room, and a drop go on.
    """
    keep(client, WIDE, record(1), record(2), record(3))
    before = true_size(client)
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            keep(client, WIDE, record(4))
        refused = true_size(client)
        first, second, _ = kept(client)
        sent = failed_tasks.retry(client, KEYS, [(first, first.text)])
        dropped = failed_tasks.drop(client, KEYS, [second])
    finally:
        client.config_set("maxmemory", 0)
    keep(client, WIDE, record(5))

    assert before == refused
    assert ({first.name}, {second.name}) == (sent.done, dropped.done)
    assert 1 == client.llen("q")
    assert ["id-3", "id-5"] == [one.id for one in kept(client)]
    assert true_size(client) == counted(client)


@pytest.mark.parametrize(
    "command", ["zadd", "hset", "hdel", "zrem", "hget", "hmget", "zrange", "time"]
)
def test_without_a_right_nothing_is_half_kept(
    server: Started, client: redis.Redis, command: str
) -> None:
    """
    Each command that is needed is tried before anything is written.
    """
    keep(client, WIDE, record(1))
    before = {key: client.dump(key) for key in client.scan_iter()}
    with (
        user(server, "~*", "&*", "+@all", f"-{command}") as url,
        redis.Redis.from_url(url) as one,
        pytest.raises(redis.ResponseError),
    ):
        failed_tasks.keep(one, KEYS, Limits(1, 1e6, 1 << 20), [record(2)])

    assert before == {key: client.dump(key) for key in client.scan_iter()}


FORGED = [
    b"",
    b"7",
    b"[]",
    b"{",
    b"\xff",
    b"[" * 100_000,
    b'{"id": {}, "task": [], "lists": 7, "text": null, "at": NaN, "tries": 1e300, "pid": true}',
    b'{"at": 1e400, "started": -1, "sent": "x", "size": [], "lists": [{}, 7]}',
    b'{"id": "\\u001b[2J\\u0000", "task": "\\ud800"}',
]


@pytest.mark.parametrize("text", FORGED)
def test_a_forged_record_is_read_as_far_as_it_goes(text: bytes) -> None:
    """
    Anyone can write one.
    """
    one = FailedTask.read("id tag", text)

    assert not one.is_whole or one.text
    assert 0 <= one.at
    assert one.tag
    assert one.id


def test_names_that_are_no_text(client: redis.Redis) -> None:
    """
    They are kept, read, and dropped as any other.
    """
    client.hset("unacked.failed", b"\xff \xfe", b"{}")
    client.zadd("unacked.failed.times", {b"\xff \xfe": 1.5, b"gone": float("inf")})
    (one,) = kept(client)

    assert 2 == len(names(client))
    assert {one.name} == failed_tasks.drop(client, KEYS, [one]).done
    assert 0 == failed_tasks.count(client, KEYS)
