"""No call of a script handles more than a portion of bytes: other clients wait meanwhile."""

import json
from collections.abc import Iterable, Sequence
from math import inf
from typing import Any

import pytest

from task_server.transport.store.owner import owner_json
from task_server.transport.store.scripts import FETCH, Script
from task_server.transport.unacked import leases
from task_server.transport.unacked.prefetched import Message
from tests.integration.transport.peers import Started

MB = 1 << 20

OWNER = '"node": "n", "pid": 1, "taken": 1.5, "run": "r", "lease": 30}'
HOLDER = f'"holder":{{{OWNER}'


def message(number: int, size: int) -> bytes:
    """Return a message of about *size* bytes; its tag is its number."""
    properties = {
        "delivery_tag": f"{number}",
        "delivery_info": {"exchange": "", "routing_key": "q"},
    }
    return json.dumps({"body": "x" * size, "properties": properties}).encode()


def fetched(client: Any, most: int = 64) -> list[int]:
    """Fetch once; return the numbers of the messages that were moved."""
    limits = (
        most,
        1,
        "1",
        "me",
        10,
        OWNER,
        "0",
        "watch",
        "token",
        "bad",
        "reasons",
        "later:",
        "paused",
        "drained",
        0,
        "1",
        "node",
    )
    _, problems, fields, _ = FETCH.run(client, ["unacked", "unacked_index", "q"], limits)
    assert [] == problems
    return [int(tag) for tag in fields[1::4]]


def portions(client: Any) -> Iterable[list[int]]:
    """Fetch until nothing is left."""
    while found := fetched(client):
        yield found


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1000, [[*range(12)]]),
        (MB // 4, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
        (5 * MB, [[number] for number in range(12)]),
    ],
)
def test_messages_are_handed_over_in_portions(server: Started, size: int, expected: Any) -> None:
    """
    One call moves as many messages as there are, up to about a megabyte; a large one alone.
    """
    client = server.client()
    for number in range(12):
        client.lpush("q", message(number, size))

    assert expected == list(portions(client))
    assert 12 == client.hlen("unacked")
    assert 12 == client.zcard("unacked_index")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Record each call of a script: its file, and the bytes that go there and come back."""
    made: list[tuple[str, int]] = []
    run = Script.run

    def recorded(self: Script, client: Any, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        answer = run(self, client, keys, arguments)
        made.append((self.files[-1], _size(arguments) + _size(answer)))
        return answer

    monkeypatch.setattr(Script, "run", recorded)
    return made


def _size(value: Any) -> int:
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return len(value) if isinstance(value, bytes | str) else 0


def in_portions(calls: list[tuple[str, int]], script: str) -> bool:
    """Return whether it took several calls of *script*, and no call was larger than a portion."""
    assert max(bytes_ for _, bytes_ in calls) < MB + SIZE + 10_000, calls
    return sum(name == script for name, _ in calls) > 2


def in_queue(client: Any) -> list[int]:
    """Return the numbers of the messages that wait, in the order in which they are taken."""
    texts = [json.loads(text) for text in reversed(client.lrange("q", 0, -1))]
    return [int(text["properties"]["delivery_tag"].removeprefix("tag-")) for text in texts]


SIZE = 300_000


def fill(client: Any, count: int = 12, **headers: Any) -> list[bytes]:
    """Queue messages; return their texts in the order in which they are taken."""
    for number in range(count):
        client.lpush("q", kombus(number, **headers))
    return list(reversed(client.lrange("q", 0, -1)))


def kombus(number: int, **headers: Any) -> bytes:
    """Return a message that a consumer can read."""
    return json.dumps(
        {
            "body": json.dumps("x" * SIZE),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": headers,
            "properties": {
                "delivery_tag": f"tag-{number}",
                "delivery_info": {"exchange": "", "routing_key": "q"},
            },
        }
    ).encode()


def test_what_a_channel_has_goes_back_in_portions(worker, server: Started, calls: Any) -> None:
    """
    Delivered or not, all messages of a channel that closes go back unchanged, in their order.
    """
    client = server.client()
    texts = fill(client)
    consumer = worker(limit=20)
    consumer.acknowledges = False
    consumer.run(lambda: len(consumer.bodies) + len(consumer.channel.unacked.prefetched) == 12)
    consumer.close()

    assert texts == list(reversed(client.lrange("q", 0, -1)))
    assert 0 == client.hlen("unacked")
    assert in_portions(calls, "restore.lua")


def test_what_is_not_delivered_yet_goes_back_in_portions(
    worker, server: Started, calls: Any
) -> None:
    """
    So does what was fetched and seen by no consumer.
    """
    client = server.client()
    texts = fill(client)
    prefetched = worker().channel.unacked.prefetched
    for number, text in enumerate(texts):
        prefetched.append(Message("q", f"tag-{number}", text, "q", HOLDER))
        own(client, number, text)
    client.delete("q")
    prefetched.requeue()

    assert texts == list(reversed(client.lrange("q", 0, -1)))
    assert [] == list(prefetched)
    assert 0 == client.hlen("unacked")
    assert in_portions(calls, "requeue.lua")


def own(client: Any, number: int, text: bytes) -> None:
    """Have the process of `OWNER` own a message, whose lease is some seconds old."""
    entry = text[:-1] + f', "taken_from":"q", {HOLDER}}}, "", "q"]'.encode()
    client.hset("unacked", f"tag-{number}", b"[" + entry)
    client.zadd("unacked_index", {f"tag-{number}": client.time()[0] - 5})


def test_what_a_dead_worker_had_goes_back_in_portions(worker, server: Started, calls: Any) -> None:
    """
    A worker that starts on its host redelivers it by reading, and moving, a megabyte a call.
    """
    client = server.client()
    texts = fill(client)
    client.delete("q")
    for number, text in enumerate(texts):
        own(client, number, text)
    worker().channel.unacked.restore.runs(["r"])

    assert set(range(12)) == set(in_queue(client))
    assert 0 == client.hlen("unacked")
    assert in_portions(calls, "restore.lua")
    assert in_portions(calls, "entries.lua")
    assert in_portions(calls, "runs.lua")


def test_a_fetch_without_a_reply_is_searched_for_in_portions(
    worker, server: Started, calls: Any
) -> None:
    """
    The messages that it took go back, unchanged; those of others stay.
    """
    client = server.client()
    texts = fill(client)
    client.delete("q")
    channel = worker().channel
    mine = f'"holder":{{{owner_json(7.5, reports=False)}'
    for number, text in enumerate(texts):
        own(client, number, text)
        if number % 2:
            entry = client.hget("unacked", f"tag-{number}").replace(HOLDER.encode(), mine.encode())
            client.hset("unacked", f"tag-{number}", entry)
    channel.pending.orphaned_fetches.append((7.5, inf))
    channel.unacked.restore.pending()

    assert sorted(texts[1::2]) == sorted(client.lrange("q", 0, -1))
    assert 6 == client.hlen("unacked")
    assert in_portions(calls, "orphaned.lua")


def test_an_expired_lease_is_checked_in_portions(server: Started, calls: Any) -> None:
    """
    All messages of this process are renewed, and those that it lost are known.
    """
    client = server.client()
    texts = fill(client)
    for number, text in enumerate(texts):
        own(client, number, text)
    lease = leases.Lease()
    tags = [f"tag-{number}" for number in range(12)]

    assert tags == lease.lost_of(client, tags)
    for tag in tags[::2]:
        entry = client.hget("unacked", tag).replace(b'"run": "r"', leases.OWN_RUN.encode())
        client.hset("unacked", tag, entry)
    since, _ = client.time()
    assert tags[1::2] == lease.lost_of(client, tags)
    assert 6 == client.zcount("unacked_index", since, "+inf")
    assert in_portions(calls, "renew_own.lua")


def test_a_worker_holds_no_more_bytes_than_it_may(worker, server: Started) -> None:
    """
    Nothing is fetched while unacknowledged messages have `prefetch_bytes`, whatever the limit.
    """
    client = server.client()
    fill(client)
    consumer = worker(limit=20, prefetch_bytes=MB)
    consumer.acknowledges = False
    consumer.run(lambda: len(consumer.bodies) == 4)
    consumer.turn()
    assert (4, 8) == (len(consumer.bodies), client.llen("q"))

    consumer.messages[0].ack()
    consumer.run(lambda: len(consumer.bodies) == 5)
    consumer.turn()
    # A fetch takes a portion; what is not delivered waits here.
    assert (5, 4) == (len(consumer.bodies), client.llen("q"))

    consumer.messages[1].reject()
    consumer.messages[2].requeue()
    consumer.acknowledges = True
    for one in consumer.messages[3:]:
        one.ack()
    consumer.run(lambda: len(consumer.bodies) == 13)
    consumer.idle()
    assert 0 == client.hlen("unacked")


def test_a_message_above_the_bound_is_taken_alone(worker, server: Started) -> None:
    """
    A bound below the size of a message stops nothing: one is here at a time.
    """
    client = server.client()
    fill(client, 3)
    consumer = worker(limit=20, prefetch_bytes=1000)
    consumer.acknowledges = False
    for number in range(3):
        consumer.run(lambda number=number: len(consumer.bodies) > number)
        consumer.turn()
        assert number + 1 == len(consumer.bodies)
        consumer.messages[-1].ack()


def test_messages_with_an_eta_do_not_count(worker, server: Started) -> None:
    """
    They may wait here for days: others are fetched meanwhile.
    """
    fill(server.client(), eta="2999-01-01T00:00:00+00:00")
    consumer = worker(limit=20, prefetch_bytes=1000)
    consumer.acknowledges = False

    consumer.run(lambda: len(consumer.bodies) == 12)
