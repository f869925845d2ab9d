"""Pausing and draining: who is known, who is bound, and what is recorded."""

import json

import pytest
import redis

from task_server.actions import RefusedError, audit, drain, pause, resume, resume_node
from task_server.monitor import snapshot
from task_server.monitor.troubles import Limits, troubles
from task_server.transport.store import stops, workers
from task_server.transport.store.keys import Keys
from tests.integration.actions.conftest import message
from tests.integration.transport.peers import Started, user

KEYS = Keys()


def register(client: redis.Redis, node: str, *queues: str, **values: object) -> None:
    """Have a worker that obeys, or else as *values* say."""
    workers.register(client, KEYS, node, {"node": node, "queues": queues, "stops": True, **values})


@pytest.mark.parametrize("keys", [KEYS, Keys("p:unacked", "p:times", "p:")])
def test_a_queue_is_paused_once_and_resumed_once(client: redis.Redis, keys: Keys) -> None:
    """
    Who did it first stays; each change is recorded, with who and when.
    """
    client.lpush(keys.list_of("q", 0), message(1))
    changed = [pause(client, keys, "q", who).changed for who in ("alice", "bob")]
    (stop,) = stops.paused(client, keys).values()
    changed += [resume(client, keys, "q", "bob").changed for _ in range(2)]

    assert [1, 0, 1, 0] == changed
    assert "alice" == stop.who
    assert abs(client.time()[0] - (stop.at or 0)) < 60
    assert {} == stops.paused(client, keys)
    found = [(one.who, one.action, one.on) for one in audit.entries(client, keys)]
    assert [("bob", "resume", "q"), ("alice", "pause", "q")] == found


def test_a_queue_that_nobody_knows_is_refused(client: redis.Redis) -> None:
    """
    Known are: what is given, what has messages, what is consumed, and what is bound.
    """
    register(client, "w@h", "consumed")
    client.sadd(KEYS.binding_of("x"), "bound\x06\x16\x06\x16bound")
    client.zadd(KEYS.delayed_of("delayed"), {"m": 1})
    for queue in ("given", "consumed", "bound", "delayed"):
        assert pause(client, KEYS, queue, "me", known=["given"]).changed
    with pytest.raises(RefusedError, match="did you mean 'consumed'"):
        pause(client, KEYS, "consumd", "me")

    assert pause(client, KEYS, "consumd", "me", force=True).changed


def test_who_is_not_bound_is_named(client: redis.Redis) -> None:
    """
    Workers of Celery, older ones and those with Kombu's transport; not those of other queues.
    """
    register(client, "ours@h", "q")
    register(client, "old@h", "q", stops=None)
    register(client, "kombu@h", "q", stops=False)
    register(client, "elsewhere@h", "r", stops=None)
    client.sadd(KEYS.binding_of("celery.pidbox"), "\x06\x16\x06\x16stock@h.celery.pidbox")
    done = pause(client, KEYS, "q", "me")
    found = snapshot(client, KEYS)
    wrong = {one.what: one for one in troubles(found, Limits())}

    assert ("kombu@h", "old@h", "stock@h") == done.unbound
    assert "not bound by it: kombu@h, old@h, stock@h" in audit.entries(client, KEYS)[0].detail
    assert "paused by me since" in wrong["q"].message
    assert "not bound by it: kombu@h, old@h, stock@h" in wrong["q"].message
    assert "task-server resume q" == wrong["q"].repair
    (queue,) = [one for one in found.queues if one.name == "q"]
    assert queue.paused is not None
    assert "me" == queue.paused.who


def test_nodes_are_drained_by_name_and_by_pattern(client: redis.Redis) -> None:
    """
    Those that are there and obey; the others are named.
    """
    for node in ("gevent@a", "gevent@b", "prefork@a"):
        register(client, node, "q")
    register(client, "gevent@old", "q", stops=None)
    done = drain(client, KEYS, "gevent@*", "me")
    found = snapshot(client, KEYS)

    assert (("gevent@a", "gevent@b"), 2, ("gevent@old",)) == (
        *(done.names, done.changed),
        done.unbound,
    )
    assert {"gevent@a", "gevent@b"} == {one.node for one in found.workers if one.drained}
    assert {"gevent@a", "gevent@b"} == {
        one.what for one in troubles(found, Limits()) if "drained by me" in one.message
    }
    assert ("gevent@b",) == resume_node(client, KEYS, "gevent@b", "me").names
    assert ("gevent@a",) == resume_node(client, KEYS, "*@*", "me").names
    assert {} == stops.drained(client, KEYS)


def test_a_node_that_is_not_there_or_would_not_obey_is_refused(client: redis.Redis) -> None:
    """
    With near names, or with the reason.
    """
    register(client, "prefork@host", "q")
    register(client, "old@host", "q", stops=None)
    with pytest.raises(RefusedError, match="did you mean 'prefork@host'"):
        drain(client, KEYS, "prefrok@host", "me")
    with pytest.raises(RefusedError, match=r"known are 'old@host', 'prefork@host'|did you mean"):
        drain(client, KEYS, "zzz*", "me")
    with pytest.raises(RefusedError, match="would not obey"):
        drain(client, KEYS, "old@host", "me")

    assert ("yet@come",) == drain(client, KEYS, "yet@come", "me", force=True).names
    wrong = {one.what: one.message for one in troubles(snapshot(client, KEYS), Limits())}
    assert "it is not there" in wrong["yet@come"]


@pytest.mark.parametrize("name", ["[a]@h", "w@h\n\x1b[2J", "é@ü", "w" * 5000, "a b;c", "*"])
def test_hostile_names(client: redis.Redis, name: str) -> None:
    """
    A name with wildcards in it is that name first; nothing in it is executed.
    """
    register(client, name, name)
    register(client, "w@h", "q")
    assert (name,) == drain(client, KEYS, name, name).names
    assert pause(client, KEYS, name, name).changed
    found = snapshot(client, KEYS)

    assert [name] == list(found.drained)
    assert name in [one.name for one in found.queues if one.paused]
    assert "\x1b" not in str(audit.entries(client, KEYS)[0])
    assert resume(client, KEYS, name, name).changed
    assert (name,) == resume_node(client, KEYS, name, name).names


def test_the_audit_is_bounded_and_read_whatever_lies_there(client: redis.Redis) -> None:
    """
    A thousand entries, each of bounded size; what is forged is shown as it is, safely.
    """
    client.rpush(KEYS.audit, *["x"] * 2000)
    audit.record(client, KEYS, "a" * 9999, "purge", "b" * 9999, detail="c" * 9999)
    client.lpush(KEYS.audit, b"\xff\x1b[2J", "[1]", '{"at": 1e999, "by": {"x": 1}}', '{"at": "n"}')
    found = audit.entries(client, KEYS)

    assert 1000 == len(found)
    assert 1004 == client.llen(KEYS.audit)
    assert all("\x1b" not in str(one) for one in found)
    assert 500 == len(found[4].who)
    assert len(str(found[4])) < 1000


@pytest.mark.parametrize("key", [KEYS.audit, KEYS.workers])
def test_a_key_of_another_type_keeps_no_action_from_being_done(
    client: redis.Redis, key: str, caplog
) -> None:
    """
    It is logged that it could not be recorded.
    """
    client.set(key, "x")
    client.lpush("q", message(1))

    assert pause(client, KEYS, "q", "me").changed
    assert ["q"] == list(stops.paused(client, KEYS))
    assert key != KEYS.audit or "could not be written" in caplog.text


@pytest.mark.parametrize("key", [KEYS.paused, KEYS.drained])
def test_a_stop_that_cannot_be_written_is_an_error(client: redis.Redis, key: str) -> None:
    """
    Another value has its name, which stays.
    """
    client.set(key, "x")
    act = pause if key == KEYS.paused else drain
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        act(client, KEYS, "q", "me", force=True)

    assert b"x" == client.get(key)
    assert [] == audit.entries(client, KEYS)
    what = "paused queues" if key == KEYS.paused else "drained nodes"
    assert what in snapshot(client, KEYS).troubles


def test_a_limited_user_may_pause(client: redis.Redis, server: Started) -> None:
    """
    The rights of a worker are enough.
    """
    rules = ("~*", "&*", "+@all", "-@dangerous", "-scan")
    with user(server, *rules) as url, redis.Redis.from_url(url) as limited:
        assert pause(limited, KEYS, "q", "me", known=["q"]).changed
        assert resume(limited, KEYS, "q", "me").changed
    assert json.loads(client.lindex(KEYS.audit, 0))["action"] == "resume"
