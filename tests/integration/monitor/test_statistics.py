"""What Redis makes of what workers have finished, and what is read from it."""

import json
from collections.abc import Iterator

import pytest
import redis

from task_server.monitor import Snapshot, day, hour, snapshot
from task_server.transport.store import workers
from task_server.transport.store.keys import Keys
from task_server.transport.store.statistics import (
    ROWS,
    ROWS_IN_TIME,
    Batch,
    field_of,
    numbers_in,
)
from tests.integration.transport.peers import Started, user

KEYS = Keys()
ONE = {("t", "q"): {"succeeded": 1, "run": 500_000, "r7": 1}}


@pytest.fixture
def client(server: Started) -> Iterator[redis.Redis]:
    """A client of an empty server."""
    with server.client() as one:
        one.flushall()
        yield one


def write(
    client: redis.Redis,
    number: int,
    rows: dict[tuple[str, str], dict[str, int]],
    lengths: dict[str, int] | None = None,
    **options: bool,
) -> None:
    """Write what a worker does every few seconds."""
    batch = Batch(number, rows) if rows else None
    said = {"node": "w@h", "state": "ready", "queues": ["q"], "interval": 5}
    workers.register(client, KEYS, "run", said, batch=batch, lengths=lengths, **options)


def numbers(client: redis.Redis, key: str = "unacked.statistics") -> dict[str, int]:
    """Return the numbers of the task t in the queue q."""
    return numbers_in(client.hget(key, field_of("t", "q")) or b"")


def slots(client: redis.Redis, seconds: int) -> list[str]:
    """Return the hashes by time."""
    return [key.decode() for key in client.keys(f"unacked.statistics:{seconds}:*")]


def test_numbers_are_added_up(client: redis.Redis) -> None:
    """
    In all, and by time; a minute has no histogram, and each goes by itself.
    """
    write(client, 1, ONE, {"q": 7})
    write(client, 2, ONE)
    in_all = numbers(client)
    by_minute = [numbers(client, key) for key in slots(client, 60)]
    by_ten = [numbers(client, key) for key in slots(client, 600)]

    assert in_all.pop("at")
    assert {"succeeded": 2, "run": 1_000_000, "r7": 2} == in_all
    assert 2 == sum(one.get("succeeded", 0) for one in by_minute)
    assert {"succeeded", "run"} == {name for one in by_minute for name in one}
    assert 2 == sum(one.get("r7", 0) for one in by_ten)
    expiries = [client.ttl(key) for key in slots(client, 60) + slots(client, 600)]
    assert all(0 < one <= 90_000 for one in expiries)
    assert -1 == client.ttl("unacked.statistics")


def test_a_batch_that_comes_again_is_not_added_again(client: redis.Redis) -> None:
    """
    Its answer was lost; the next one is. A registration without a batch forgets nothing.
    """
    for number in (1, 1, 0, 1, 2, 2):
        write(client, number, ONE if number else {})

    assert 2 == numbers(client)["succeeded"]


def test_a_flood_of_tasks_does_not_grow_it(client: redis.Redis) -> None:
    """
    A hash has a thousand rows; what comes then is added to one without a name.
    """
    for number in range(60):
        rows = {(f"t{number}.{one}", "q"): {"succeeded": 1} for one in range(25)}
        write(client, number + 1, rows, {f"q{number}.{one}": 1 for one in range(50)})
    every = [client.hgetall(key) for key in ["unacked.statistics", *slots(client, 600)]]

    assert len(every[0]) == ROWS + 1
    assert all(len(one) <= ROWS + 1 for one in every)
    assert ROWS_IN_TIME < len(every[1])
    assert 1500 == sum(numbers_in(value)["succeeded"] for value in every[0].values())
    assert 1500 == sum(one.total.succeeded for one in look(client).tasks)
    past = day(client, KEYS)
    assert 1500 == sum(one.succeeded for one in past.of_queue("q")) + sum(
        one.succeeded for one in past.of_queue("")
    )


def look(client: redis.Redis) -> Snapshot:
    return snapshot(client, KEYS)


FORGED = ["", "?", "succeeded:x", "succeeded:99999999999999999999", "succeeded:-1", "x" * 100_000]


@pytest.mark.parametrize("text", FORGED, ids=range(len(FORGED)))
def test_what_anyone_can_write_does_no_harm(client: redis.Redis, text: str) -> None:
    """
    It counts as nothing, to who adds and to who reads.
    """
    client.hset("unacked.statistics", field_of("t", "q"), text)
    client.hset("unacked.statistics", text or "?", "succeeded:1")
    client.hset("unacked.statistics", "[1]", "succeeded:1")
    before = look(client)
    write(client, 1, ONE)

    assert {} == before.troubles
    assert 1 == numbers(client)["succeeded"]


def test_a_key_of_another_type(client: redis.Redis) -> None:
    """
    It is said, and the rest is added; the worker is registered.
    """
    client.set("unacked.statistics", "x")
    write(client, 1, ONE)

    assert {"statistics"} == set(look(client).troubles)
    assert 1 == sum(numbers(client, key).get("succeeded", 0) for key in slots(client, 600))
    assert 1 == client.hlen("unacked.workers")


@pytest.mark.parametrize("denied", ["hget", "hlen", "expire"])
def test_a_right_that_is_denied(server: Started, client: redis.Redis, denied: str) -> None:
    """
    What may not be read is not overwritten, and the worker is registered all the same.
    """
    write(client, 1, ONE)
    rules = ("~*", "&*", "+@all", f"-{denied}")
    with user(server, *rules) as url, redis.Redis.from_url(url) as limited:
        write(limited, 2, ONE)

    assert (2 if denied == "expire" else 1) == numbers(client)["succeeded"]
    assert b'"batch": 2' in client.hget("unacked.workers", "run")


def test_those_of_tasks_that_are_long_gone_go(client: redis.Redis) -> None:
    """
    After thirty days, when a worker starts.
    """
    now = client.time()[0]
    for name, at in (("old", now - 31 * 86_400), ("recent", now - 86_400)):
        client.hset("unacked.statistics", field_of(name, "q"), f"succeeded:1 at:{at}")
    write(client, 1, ONE, first=True)

    assert {"recent", "t"} == {one.task for one in look(client).tasks}


def test_what_is_read(client: redis.Redis) -> None:
    """
    Totals and recent counts of each task, the last hour and the last day.
    """
    write(client, 1, {**ONE, ("t", "other"): {"failed": 2, "wait": 3, "waited": 2, "w0": 2}})
    first, second = look(client).tasks
    found = day(client, KEYS)

    # What fails comes first.
    assert ("other", 2, 2) == (first.queue, first.total.failed, first.recent.failed)
    assert ("q", 1, 1) == (second.queue, second.total.succeeded, second.recent.succeeded)
    assert (1, 0.5) == (second.total.ran.count, second.total.ran.sum)
    assert (600, 145) == (found.step, len(found.tasks["t", "q"]))
    assert 1 == sum(one.ran.count for one in found.of_queue("q"))
    assert 3 == sum(one.ended for one in found.of_task("t"))
    assert () == found.of_queue("unknown")
    assert (60, 61) == (hour(client, KEYS).step, len(hour(client, KEYS).tasks["t", "q"]))


def minute(client: redis.Redis, ago: int) -> str:
    """Return the hash of the minute that was so many minutes *ago*."""
    now = client.time()[0]
    return KEYS.statistics_of(60, now // 60 * 60 - 60 * ago)


def test_rates(client: redis.Redis) -> None:
    """
    What comes is what left, and by how much the queue has grown since; unknown without a sample.
    """
    unknown = (None, None)
    client.rpush("q", *range(50))
    client.rpush("nobody", 1)
    # Written to each minute that may be the first of the recent ones, when it is read.
    for ago in (5, 6, 7):
        client.hset(minute(client, ago), field_of("q"), "20")
    write(client, 1, {("t", "q"): {"succeeded": 10}})
    by_name = {
        queue.name: queue
        for queue in look(
            client,
        ).queues
    }
    by_name |= {queue.name: queue for queue in snapshot(client, KEYS, ["nobody"]).queues}
    queue = by_name["q"]

    assert queue.rate_in is not None
    assert queue.rate_out is not None
    assert queue.rate_in.per_minute == pytest.approx(4 * queue.rate_out.per_minute, rel=0.01)
    assert 10 / 6 <= queue.rate_out.per_minute <= 2
    assert (queue.rate_in.is_exact, queue.rate_out.is_exact) == (True, True)
    assert unknown == (by_name["nobody"].rate_in, by_name["nobody"].rate_out)


def test_beside_a_worker_of_celery_a_rate_is_a_lower_bound(client: redis.Redis) -> None:
    """
    What that one finishes, nobody counts.
    """
    client.sadd("_kombu.binding.celery.pidbox", "\x06\x16\x06\x16stock@h.celery.pidbox")
    write(client, 1, ONE)
    (queue,) = look(client).queues

    assert queue.rate_out is not None
    assert not queue.rate_out.is_exact


def test_what_is_usual(client: redis.Redis) -> None:
    """
    The middle of what was usual in each hour: three hours of an incident do not count.
    """
    now = client.time()[0]
    for hours in range(1, 12):
        run, waited = ("r16", "w18") if hours <= 3 else ("r10", "w8")
        slot = KEYS.statistics_of(600, (now - 3600 * hours) // 600 * 600)
        client.hset(slot, field_of("t", "q"), f"succeeded:100 {run}:100 waited:100 {waited}:100")
    client.hset("unacked.statistics", field_of("t", "q"), "succeeded:1")
    sent = {"task": "t", "id": "i", "task-server-sent": [now - 900, 0]}
    client.rpush("q", json.dumps({"headers": sent, "properties": {"delivery_tag": "w"}}))
    held = {"headers": {"task": "t", "id": "i"}, "taken_from": "q"}
    owner = {"node": "w@h", "pid": 1, "run": "run", "taken": now - 900, "lease": 30}
    client.hset("unacked", "tag", json.dumps([{**held, "holder": owner}, "", "q"]))
    said = {"node": "w@h", "state": "ready", "queues": ["q"], "running": [["tag", 900]]}
    workers.register(client, KEYS, "run", {**said, "limits": {"tag": 600, "x": "y"}})
    found = look(client)
    (worker,), (queue,) = found.workers, found.queues

    assert {"tag": 600} == worker.limits
    assert {"t"} == set(found.usual)
    assert 2 < found.usual["t"] <= 5
    assert queue.usual is not None
    assert 0.5 < queue.usual <= 1


def test_a_few_runs_are_not_usual(client: redis.Redis) -> None:
    """
    Nineteen say nothing.
    """
    now = client.time()[0]
    client.hset(KEYS.statistics_of(600, now // 600 * 600), field_of("t", "q"), "waited:19 w0:19")
    client.hset("unacked.statistics", field_of("t", "q"), "succeeded:1")
    sent = {"task": "t", "id": "i", "task-server-sent": [now - 900, 0]}
    client.rpush("q", json.dumps({"headers": sent, "properties": {"delivery_tag": "w"}}))
    write(client, 1, ONE)
    (queue,) = look(client).queues

    assert queue.usual is None


def test_with_a_prefix(client: redis.Redis) -> None:
    """
    All names follow that of the unacked messages.
    """
    keys = Keys(unacked="p.unacked", times="p.unacked_index", prefix="p.")
    workers.register(client, keys, "r", {"node": "n"}, batch=Batch(1, ONE))

    assert {True} == {key.startswith(b"p.") for key in client.scan_iter()}
    assert [1] == [one.total.succeeded for one in snapshot(client, keys).tasks]
