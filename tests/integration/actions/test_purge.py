"""A purge deletes what it says, in calls that are short, while others go on."""

import json
import threading
from collections.abc import Iterator

import pytest
import redis

from task_server.actions import RefusedError, audit, count, purge
from task_server.transport.store import portions, sieve
from task_server.transport.store.keys import Keys
from tests.integration.actions.conftest import delayed, message, tags_of
from tests.integration.transport.peers import Started, user

KEYS = Keys()


def fill(client: redis.Redis, name: str, number: int, **headers: object) -> None:
    """Put *number* messages into a list, every third of another task."""
    texts = [
        message(n, "proj.other" if n % 3 == 0 else "proj.work", **headers) for n in range(number)
    ]
    for first in range(0, number, 1000):
        client.lpush(name, *texts[first : first + 1000])


def test_all_of_every_priority_and_what_is_delayed(client: redis.Redis) -> None:
    """
    Each number is said before and after, and the keys are gone.
    """
    fill(client, "q", 5)
    fill(client, KEYS.list_of("q", 6), 3)
    client.zadd(KEYS.delayed_of("q"), {delayed(1): 4e9, delayed(2): 4e9})
    fill(client, "other", 2)
    before = count(client, KEYS, "q")
    done = purge(client, KEYS, "q", "alice")

    assert before == done
    assert ({0: 5, 6: 3}, 2, 10) == (done.waiting, done.delayed, done.total)
    assert "8 waiting (5 of priority 0, 3 of priority 6), 2 delayed" == str(done)
    assert {b"other", b"unacked.audit"} == set(client.keys())
    (entry,) = audit.entries(client, KEYS)
    assert ("alice", "purge", "q") == (entry.who, entry.action, entry.on)
    assert str(done) in entry.detail


def test_one_task_alone_and_the_rest_keeps_its_order(client: redis.Redis) -> None:
    """
    Also of what is delayed; what cannot be read stays.
    """
    fill(client, "q", 2000)
    client.lpush("q", "{broken", b"\xff\x00", "[]", '{"headers": 7}')
    client.zadd(KEYS.delayed_of("q"), {delayed(1, "proj.other"): 4e9, delayed(2): 4e9})
    before = count(client, KEYS, "q", task="proj.other")
    done = purge(client, KEYS, "q", "alice", task="proj.other")

    assert (667, 1) == (done.waiting[0], done.delayed)
    assert before == done
    kept = client.lrange("q", 4, -1)
    assert [str(n) for n in range(2000) if n % 3] == [
        json.loads(one)["properties"]["delivery_tag"] for one in reversed(kept)
    ]
    assert 4 + 1333 == client.llen("q")
    assert -1 == client.ttl("q")
    assert 1 == client.zcard(KEYS.delayed_of("q"))


def test_what_is_old_by_its_producer(client: redis.Redis) -> None:
    """
    One that does not say when it was sent stays, and is counted.
    """
    now = client.time()[0]
    for tag, age in (("old", 7200), ("new", 60)):
        client.lpush("q", message(tag, **{"task-server-sent": [now - age, 0]}))
    client.lpush("q", message("unknown"))
    done = purge(client, KEYS, "q", "alice", older_than=3600)

    assert ({0: 1}, 1) == (done.waiting, done.ageless)
    assert ["new", "unknown"] == tags_of(client, "q")


def test_others_take_and_send_meanwhile(client: redis.Redis, server: Started) -> None:
    """
    What they take is not there again, what they send stays, and nothing is lost.
    """
    fill(client, "q", 6000)
    taken: list[bytes] = []
    over = threading.Event()

    def work() -> None:
        with server.client() as other:
            number = 10_000
            while not over.is_set():
                taken.extend(other.rpop("q", 1) or [])
                other.lpush("q", message(number))
                number += 1

    thread = threading.Thread(target=work)
    thread.start()
    done = purge(client, KEYS, "q", "alice", task="proj.other")
    over.set()
    thread.join()
    tags = [json.loads(one)["properties"]["delivery_tag"] for one in taken]
    left = tags_of(client, "q")
    numbers = list(map(int, tags + left))

    assert sorted(numbers) == sorted(set(numbers))
    assert numbers == sorted(numbers)
    assert {n for n in range(6000) if n % 3} <= set(numbers)
    assert 2000 == done.total + len([n for n in numbers if n < 6000 and n % 3 == 0])
    assert not client.keys("unacked.purge:*")


def test_one_that_is_put_back_meanwhile_stays(client: redis.Redis) -> None:
    """
    A worker that stops returns a message to the front: the purge begins anew.
    """
    fill(client, "q", 3000)
    seen = 0

    def matches(text: bytes) -> bool:
        nonlocal seen
        seen += 1
        if seen == 2500:
            client.rpush("q", message("back"))
        return b"proj.other" in text

    done = sieve.delete(client, KEYS, "q", matches)

    assert 1000 == done
    assert ["back", "1", "2", "4"] == tags_of(client, "q")[:4]
    assert seen > 3000


def test_no_call_is_long(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Each reads some hundred messages of 20,000, and what is dropped Redis frees beside its work.
    """
    fill(client, "q", 20_000)
    spans: list[int] = []
    lrange = client.lrange

    def counting(name: str, first: int, last: int) -> object:
        found = lrange(name, first, last)
        spans.append(len(found))
        return found

    monkeypatch.setattr(client, "lrange", counting)
    client.config_resetstat()
    done = purge(client, KEYS, "q", "alice", task="proj.other")
    rest = purge(client, KEYS, "q", "alice")
    used = client.info("commandstats")

    assert (6667, 13_333) == (done.total, rest.total)
    assert max(spans) <= portions.SCANNED_MOST + sieve.NEAR + 1
    assert len(spans) >= 20_000 / max(spans)
    assert "cmdstat_unlink" in used
    assert "cmdstat_del" not in used
    assert 0 == client.exists("q")


@pytest.mark.parametrize("kind", ["SET", "SADD"])
def test_another_value_is_not_deleted(client: redis.Redis, kind: str) -> None:
    """
    A key of the queue's name that is no list is somebody else's.
    """
    client.execute_command(kind, "q", "x")
    for task in (None, "proj.work"):
        with pytest.raises(RefusedError, match="no queue"):
            purge(client, KEYS, "q", "alice", task=task)

    assert client.exists("q")


@pytest.fixture
def limited(server: Started) -> Iterator[redis.Redis]:
    """A user who may use what a worker may."""
    rules = ("~*", "&*", "+@all", "-unlink", "-rename", "-persist")
    with user(server, *rules) as url, redis.Redis.from_url(url) as one:
        yield one


def test_a_user_with_a_workers_rights(client: redis.Redis, limited: redis.Redis) -> None:
    """
    May purge all of a queue; one task's needs further rights, and changes nothing without.
    """
    fill(client, "q", 2500)
    client.zadd(KEYS.delayed_of("q"), {delayed(1): 4e9})
    with pytest.raises(redis.ResponseError, match=r"permission|can't run"):
        purge(limited, KEYS, "q", "alice", task="proj.other")
    assert 2500 == client.llen("q")

    done = purge(limited, KEYS, "q", "alice")

    assert (2500, 1) == (done.waiting[0], done.delayed)
    assert {b"unacked.audit"} == {one for one in client.scan_iter() if b"purge:" not in one}
