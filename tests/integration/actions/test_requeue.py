"""What a dead worker holds goes back, in order and counted; what a living one has does not."""

import json

import pytest
import redis

from task_server.actions import RefusedError, audit, requeue
from task_server.transport.store import dead_letters, workers
from task_server.transport.store.keys import Keys
from tests.integration.actions.conftest import entry, message, tags_of

KEYS = Keys()


def hold(client: redis.Redis, tag: object, *, ago: float, **owner: object) -> None:
    """Have a message in flight that was renewed so many seconds *ago*."""
    now = client.time()[0]
    client.hset(KEYS.unacked, str(tag), entry(tag, **owner))
    client.zadd(KEYS.times, {str(tag): now - ago})


def test_what_a_dead_worker_holds_goes_to_the_front_in_order(client: redis.Redis) -> None:
    """
    Marked as redelivered, with its crash, and in front of what waits.
    """
    client.lpush("q", message("waits"))
    for number in range(250):
        hold(client, number, ago=100, taken=float(number))
    hold(client, "other", ago=100, node="v@h", run="s")
    done = requeue(client, KEYS, "w@h", "alice")

    assert (250, (), 0) == (done.count, done.dead, done.held)
    assert [*map(str, range(250)), "waits"] == tags_of(client, "q")
    one = json.loads(client.lindex("q", -1))
    assert one["headers"]["redelivered"] is True
    assert [("no sign of life", "w@h")] == [(c["reason"], c["node"]) for c in one["deaths"]]
    assert [b"other"] == client.hkeys(KEYS.unacked)
    (line,) = audit.entries(client, KEYS)
    assert ("alice", "requeue", "w@h", "250 messages") == (
        *(line.who, line.action),
        *(line.on, line.detail),
    )


def test_poison_becomes_a_dead_letter(client: redis.Redis) -> None:
    """
    After so many crashes; whoever stores the failure gets it.
    """
    hold(client, 1, ago=100)
    # It had the processor, so that it was the one that crashed it.
    client.sadd(KEYS.started("r"), "1", ">1")
    heard: list[str] = []
    done = requeue(
        *(client, KEYS, "w@h", "alice"),
        poison_limit=1,
        on_dead_letter=lambda letter: heard.append(letter.tag),
    )

    assert (1, 1) == (done.count, len(done.dead))
    assert 0 == client.llen("q")
    assert ["1"] == [one.tag for one in dead_letters.all_of(client, KEYS.dead_letters)]
    assert 1 == len(heard)


def test_it_is_refused_while_its_lease_lives(client: redis.Redis) -> None:
    """
    Until when is said; nothing moves.
    """
    hold(client, 1, ago=5)
    hold(client, 2, ago=100)
    with pytest.raises(RefusedError, match=r"owns 2 messages until \d\d:\d\d:\d\dZ"):
        requeue(client, KEYS, "w@h", "alice")

    assert 2 == client.hlen(KEYS.unacked)
    assert [] == audit.entries(client, KEYS)


def test_without_a_lease_the_visibility_timeout_counts(client: redis.Redis) -> None:
    """
    As for any other worker.
    """
    now = client.time()[0]
    client.hset(KEYS.unacked, "1", entry(1).replace(', "lease": 30', ""))
    client.zadd(KEYS.times, {"1": now - 100})
    with pytest.raises(RefusedError, match="until"):
        requeue(client, KEYS, "w@h", "alice")

    assert 1 == requeue(client, KEYS, "w@h", "alice", visibility_timeout=60).count


def test_another_process_of_the_node_keeps_its_own(client: redis.Redis) -> None:
    """
    The dead one's go back though the node has come back.
    """
    hold(client, "dead", ago=100, run="old")
    hold(client, "alive", ago=1, run="new")
    done = requeue(client, KEYS, "w@h", "alice")

    assert (1, 1) == (done.count, done.held)
    assert ["dead"] == tags_of(client, "q")


def test_a_worker_of_celery_is_refused_with_the_reason(client: redis.Redis) -> None:
    """
    Its entries do not say who holds them.
    """
    client.sadd(KEYS.binding_of("celery.pidbox"), "\x06\x16\x06\x16stock@h.celery.pidbox")
    client.hset(KEYS.unacked, "1", json.dumps([json.loads(message(1)), "", "q"]))
    client.zadd(KEYS.times, {"1": 1.0})
    with pytest.raises(RefusedError, match="who holds them"):
        requeue(client, KEYS, "stock@h", "alice")

    assert 1 == client.hlen(KEYS.unacked)


def test_a_node_that_nobody_knows(client: redis.Redis) -> None:
    """
    Near names are given; one that holds nothing is no error.
    """
    workers.register(client, KEYS, "run", {"node": "prefork@host"})
    with pytest.raises(RefusedError, match="did you mean 'prefork@host'"):
        requeue(client, KEYS, "prefrok@host", "alice")

    assert 0 == requeue(client, KEYS, "prefork@host", "alice").count


@pytest.mark.parametrize("node", ["*", "w@h\n", "", "\x00", "w@h" * 1000, "'; FLUSHALL"])
def test_a_hostile_name(client: redis.Redis, node: str) -> None:
    """
    It is nobody's.
    """
    hold(client, 1, ago=100)
    with pytest.raises(RefusedError):
        requeue(client, KEYS, node, "alice")

    assert 1 == client.hlen(KEYS.unacked)


def test_an_entry_of_0_1_goes_where_its_exchange_leads(client: redis.Redis) -> None:
    """
    It says who holds it, and not from where it was taken.
    """
    client.sadd(KEYS.binding_of("docs"), "key\x06\x16\x06\x16files", "#\x06\x16.*\x06\x16all")
    old = entry(1).replace(', "taken_from":"q"', "").replace('"", "q"]', '"docs", "key"]')
    client.hset(KEYS.unacked, "1", old)
    client.zadd(KEYS.times, {"1": 1.0})

    assert 1 == requeue(client, KEYS, "w@h", "alice").count
    assert (1, 1) == (client.llen("files"), client.llen("all"))
