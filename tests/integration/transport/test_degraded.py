"""A worker whose user lacks a right, or that finds something else where its keys should be."""

import json
import logging

import pytest
import redis

from task_server.transport.store import unreadable
from task_server.transport.store.keys import Keys
from tests.integration.transport.peers import user

KINDS = {
    "string": ("SET", "{}", "x"),
    "hash": ("HSET", "{}", "f", "x"),
    "set": ("SADD", "{}", "x"),
}
OWN = "unacked.idle:q"
REASONS = "unacked.unreadable.reasons"


def odd(client: redis.Redis) -> None:
    client.lpush("q", b"{broken")


@pytest.mark.parametrize(
    "place",
    [
        (key, kind)
        for key in (f"{OWN}:watchers", f"{OWN}:baton", "unacked.unreadable", REASONS)
        for kind in KINDS
        if (key, kind) != (REASONS, "hash")
    ],
)
def test_a_key_that_a_worker_can_do_without(worker, publish, server, caplog, place) -> None:
    """
    Whatever lies there, messages are taken; the log names the key and the cure once.
    """
    key, kind = place
    client = server.client()
    client.execute_command(*(word.format(key) for word in KINDS[kind]))
    with caplog.at_level(logging.WARNING):
        first, second = worker(), worker()
        for number in range(3):
            publish(number)
            odd(client)
            first.run(lambda number=number: len(first.bodies) == number + 1)
        second.turn()
        publish("last")
        second.run(lambda: first.turn() or "last" in first.bodies + second.bodies)
        # One that cannot be read is kept, wherever.
        first.run(lambda: client.llen("q") == 0)
    kept = client.llen("unacked.unreadable") if key != "unacked.unreadable" else 0
    kept += sum(field.startswith(b"unreadable:") for field in client.hkeys("unacked"))

    assert [0, 1, 2] == first.bodies[:3]
    assert 3 == kept
    if key != REASONS:
        lines = [line for line in caplog.messages if f"key {key}:" in line]
        assert all("RENAME" in line for line in lines)
        assert 1 <= len(lines) <= 2
        assert len(lines) == len({*lines}) or 2 == len(lines)


@pytest.mark.parametrize(
    "command",
    ["expire", "zcount", "zremrangebyscore", "lpush", "brpop", "client", "evalsha", "llen"],
)
def test_a_command_that_a_worker_can_do_without(worker, publish, server, command) -> None:
    """
    Without it messages are taken all the same, and nothing stays among the unacked.
    """
    with user(server, "~*", "&*", "+@all", f"-{command}") as url:
        consumer = worker(url=url)
        consumer.turn()
        for number in range(5):
            publish(number)
        consumer.run(lambda: len(consumer.bodies) == 5)
        publish("later")
        consumer.run(lambda: consumer.bodies[5:])
        consumer.run(lambda: server.client().hlen("unacked") == 0 or consumer.turn())
        consumer.close()

    assert [0, 1, 2, 3, 4, "later"] == consumer.bodies
    assert 0 == server.client().llen("q")


@pytest.mark.parametrize("command", ["hset", "zadd", "hdel", "zrem", "lindex", "exists", "time"])
def test_a_command_that_a_worker_needs(worker, publish, server, caplog, command) -> None:
    """
    Without it every message stays where it is, and the worker says so and that it is not ready.
    """
    client = server.client()
    for number in range(5):
        publish(number)
    with (
        user(server, "~*", "&*", "+@all", f"-{command}") as url,
        caplog.at_level(logging.ERROR),
    ):
        consumer = worker(url=url)
        consumer.run(lambda: "rejects the fetch" in caplog.text, "the refusal")

        assert 5 == client.llen("q")
        assert 0 == client.hlen("unacked")
        # Redis 7.0 does not say which.
        said = consumer.channel.fetcher.refusal
        assert command in said or "this command or subcommand" in said

        client.execute_command("ACL", "SETUSER", "limited", "+@all")
        consumer.run(lambda: len(consumer.bodies) == 5)
        consumer.close()

    assert [0, 1, 2, 3, 4] == consumer.bodies
    assert consumer.channel.fetcher.refusal is None


def test_a_queue_that_is_no_list(worker, publish, server, caplog) -> None:
    """
    Its worker takes from the other queue, says what is wrong, and takes from it when it is mended.
    """
    client = server.client()
    client.set("bad", "x")
    with caplog.at_level(logging.ERROR):
        consumer = worker("q", "bad")
        consumer.turn()
        publish("good")
        consumer.run(lambda: consumer.bodies)
        consumer.run(lambda: "the queue bad gives no messages" in caplog.text)

    assert "RENAME bad" in caplog.text
    assert "the queue bad" in consumer.channel.fetcher.refusal

    client.delete("bad")
    publish("mended", "bad")
    consumer.run(lambda: len(consumer.bodies) == 2)
    consumer.run(lambda: consumer.channel.fetcher.refusal is None)

    assert ["good", "mended"] == consumer.bodies


def test_the_reason_lies_beside_the_message(worker, server) -> None:
    """
    Each message that cannot be read is in the list as it was, and its reason in the hash.
    """
    client = server.client()
    consumer = worker()
    client.lpush("q", b"{broken", b"\xff\xfe", b'{"properties": {}}')
    consumer.run(lambda: client.llen("unacked.unreadable") == 3)
    reasons = [json.loads(one) for one in client.hvals("unacked.unreadable.reasons")]

    assert {b"{broken", b"\xff\xfe", b'{"properties": {}}'} == {
        *client.lrange("unacked.unreadable", 0, -1)
    }
    assert {"q"} == {one["list"] for one in reasons}
    assert all(one["reason"] and one["node"] and one["at"] > 0 for one in reasons)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param((["~*"], "RENAME unacked.looks"), id="no hash"),
        pytest.param(
            (
                ["~q*", "~unacked", "~unacked_*", "~unacked.idle*", "~unacked.dead", "~_kombu*"],
                "lacks the key (~unacked.looks)",
            ),
            id="forbidden",
        ),
    ],
)
def test_scans_that_cannot_be_used(worker, publish, server, caplog, case) -> None:
    """
    Messages of dead workers come back although another value has the key of the scans,
    or the user may not use that key.
    """
    rules, cure = case
    client = server.client()
    client.set("unacked.looks", "x")
    options = {"visibility_timeout": 2, "unacked_restore_interval": 0.5}
    lost = worker(**options)
    lost.acknowledges = False
    publish("one")
    lost.run(lambda: lost.bodies)
    with user(server, *rules, "&*", "+@all") as url, caplog.at_level(logging.WARNING):
        other = worker(url=url, **options)
        other.run(lambda: other.bodies, seconds=60)
        other.close()

    assert ["one"] == other.bodies
    # Once for each of the two workers.
    lines = [one for one in caplog.messages if "without the key unacked.looks:" in one]
    assert 1 <= len(lines) <= 2
    assert any(cure in one for one in lines), lines


def test_a_message_that_cannot_be_delivered_again(worker, publish, server) -> None:
    """
    An entry that is no message goes to the unreadable ones when its worker is dead, and no other.
    """
    client = server.client()
    entry = b'[{"broken": , "taken_from":"q", "holder":{"node": "n", "pid": 1}}, "", "q"]'
    client.hset("unacked", mapping={"bad": entry})
    client.zadd("unacked_index", {"bad": 1})
    consumer = worker(visibility_timeout=2, unacked_restore_interval=0.5)
    consumer.run(lambda: client.llen("unacked.unreadable"), seconds=60)
    publish("good")
    consumer.run(lambda: consumer.bodies)

    assert [b'{"broken": }'] == client.lrange("unacked.unreadable", 0, -1)
    assert not client.hexists("unacked", "bad")


@pytest.mark.parametrize("how", ["wrong type", "forbidden", "denied"])
def test_what_cannot_be_read_waits_for_its_list(worker, publish, server, caplog, how) -> None:
    """
    While the list cannot be used such messages lie in the hash; then they go to it, by themselves.
    """
    client = server.client()
    key, odd_ones = "unacked.unreadable", [b"{broken", b'\xff, "unreadable":{}]', b"[1]"]
    rules = {
        "forbidden": ["~q*", "~unacked", "~unacked_*", "~unacked.idle*", "~unacked.looks", "~_ko*"],
        "denied": ["~*"],
    }.get(how, ["~*"])
    client.set(key, "x")
    if how != "wrong type":
        client.delete(key)
    client.hset("unacked", "unreadable:of 0.1", b"[{old, null, null]")
    with (
        user(server, *rules, "&*", "+@all", *(["-lpush"] if how == "denied" else [])) as url,
        caplog.at_level(logging.WARNING),
    ):
        consumer = worker(url=url, visibility_timeout=2, unacked_restore_interval=0.2)
        client.lpush("q", *odd_ones)
        consumer.run(lambda: client.hlen("unacked") == 4)
        publish("good")
        consumer.run(lambda: consumer.bodies)
        consumer.run(lambda: f"without the key {key}:" in caplog.text)
        waiting = unreadable.count(client, Keys())

        client.delete(key)
        client.execute_command("ACL", "SETUSER", "limited", "~*", "+@all")
        consumer.run(lambda: client.llen(key) == 4)
        consumer.run(lambda: consumer.channel.pending.unreadable == 0)
        consumer.close()

    assert 4 == waiting == unreadable.count(client, Keys())
    assert {*odd_ones, b"{old"} == {*client.lrange(key, 0, -1)}
    assert 0 == client.hlen("unacked")
    by_text = {one.text: one for one in unreadable.newest(client, Keys())}
    assert all("not JSON" in by_text[text].reason for text in odd_ones[:2])
    assert {"q"} == {by_text[text].list for text in odd_ones}
    assert by_text[b"{old"].reason
    assert 1 == len([one for one in caplog.messages if f"without the key {key}:" in one])
    assert "are in the list unacked.unreadable" in caplog.text
