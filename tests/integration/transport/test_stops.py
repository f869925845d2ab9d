"""A paused queue gives nothing, a drained node takes nothing, and both go on afterwards."""

import json
import logging

import pytest

from task_server.actions import drain, pause, resume, resume_node
from task_server.transport.store.keys import Keys
from task_server.transport.store.owner import node_name
from task_server.transport.wire import Sent
from tests.integration.transport.peers import Worker
from tests.support.wait import until

KEYS = Keys()


def rests(consumer: Worker) -> None:
    """Run the loop until it waits, with nothing to be asked and no answer to come."""
    fetcher = consumer.channel.fetcher
    consumer.run(lambda: not fetcher.idle.fetch_due and fetcher.wire.sent is Sent.NOTHING, "a rest")


def test_a_paused_queue_gives_nothing_and_the_others_do(worker, publish, server) -> None:
    """
    Its messages wait, of all priorities, in their order; those of another queue are taken.
    """
    client = server.client()
    consumer = worker("q", "r")
    pause(client, KEYS, "q", "me", force=True)
    for number in range(5):
        publish(number, "q", priority=9 if number == 4 else 0)
        publish(f"r{number}", "r")
    consumer.run(lambda: len(consumer.bodies) == 5)
    consumer.idle()

    assert [f"r{number}" for number in range(5)] == consumer.bodies
    assert 4 == client.llen("q")
    assert {"q"} == consumer.channel.fetcher.idle.closed

    resume(client, KEYS, "q", "me")
    consumer.run(lambda: len(consumer.bodies) == 10)

    assert list(range(5)) == consumer.bodies[5:]
    assert frozenset() == consumer.channel.fetcher.idle.closed


@pytest.mark.parametrize("queues", [("q",), ("q", "r")])
def test_who_waits_is_told_of_the_end_of_a_pause(worker, publish, server, queues) -> None:
    """
    At once: the keys of the stops are watched as the lists are, and it does not ask meanwhile.
    """
    client = server.client()
    consumer = worker(*queues)
    pause(client, KEYS, "q", "me", force=True)
    publish("one")
    consumer.run(lambda: consumer.channel.fetcher.idle.closed)
    rests(consumer)
    assert [] == consumer.bodies

    resume(client, KEYS, "q", "me")
    until(consumer.readable)
    consumer.run(lambda: consumer.bodies)

    assert ["one"] == consumer.bodies


def test_another_pause_does_not_keep_a_worker_busy(worker, publish, server) -> None:
    """
    One that came after the fetch has counted them changes the answer that it expects.
    """
    client = server.client()
    pause(client, KEYS, "q", "me", force=True)
    consumer = worker("q", "r")
    consumer.run(lambda: consumer.channel.fetcher.idle.closed)
    drain(client, KEYS, "another@host", "me", force=True)
    rests(consumer)
    publish("r", "r")
    consumer.run(lambda: consumer.bodies)

    assert ["r"] == consumer.bodies


def test_a_drained_node_takes_nothing_and_wakes_no_more(worker, publish, server) -> None:
    """
    Another node takes what comes, though the drained one was the first to watch.
    """
    client = server.client()
    consumer = worker()
    consumer.idle()
    drain(client, KEYS, node_name(), "me", force=True)
    publish("one")
    consumer.run(lambda: consumer.channel.fetcher.idle.closed)
    consumer.idle()

    assert [] == consumer.bodies
    assert 1 == client.llen("q")
    assert 0 == client.zcard("unacked.idle:q:watchers")

    resume_node(client, KEYS, node_name(), "me")
    consumer.run(lambda: consumer.bodies)

    assert ["one"] == consumer.bodies


def test_a_delayed_task_comes_due_and_waits(worker, publish, server) -> None:
    """
    What is due goes to its list, and is not taken from there.
    """
    client = server.client()
    consumer = worker(delay_seconds=0.1)
    eta = {"task": "t", "id": "1", "eta": "2090-01-01T00:00:00+00:00"}
    publish("later", headers=eta)
    consumer.run(lambda: client.zcard("unacked.delayed:q"))
    pause(client, KEYS, "q", "me", force=True)
    (member,) = client.zrange("unacked.delayed:q", 0, -1)
    due = member.replace(b"2090-01-01", b"2001-01-01")
    client.delete("unacked.delayed:q")
    client.zadd("unacked.delayed:q", {due: 1.0})
    consumer.run(lambda: client.llen("q"))
    consumer.idle()
    assert [] == consumer.bodies

    resume(client, KEYS, "q", "me")
    consumer.run(lambda: consumer.bodies)

    assert ["later"] == consumer.bodies


def test_what_was_fetched_and_not_delivered_goes_back_in_order(worker, publish, server) -> None:
    """
    Of a paused queue alone, to its front.
    """
    client = server.client()
    consumer = worker("q", "r", limit=10)
    consumer.acknowledges = False
    for number in range(8):
        publish(number, "q" if number % 2 else "r")
    if consumer.hub is not None:
        consumer.run(lambda: len(consumer.bodies) == 8)
        tags = [
            one.delivery_tag for one in consumer.messages if one.delivery_info["routing_key"] == "q"
        ]
        consumer.channel.qos.hand_back(tags)
    else:
        # In `drain_events` one is delivered a turn.
        consumer.run(lambda: consumer.bodies)
        kept = len([one for one in consumer.channel.unacked.prefetched if one.queue == "r"])
        consumer.channel.unacked.prefetched.requeue({"q"})
        assert kept == len(consumer.channel.unacked.prefetched)
    got = [json.loads(one) for one in reversed(client.lrange("q", 0, -1))]

    assert sorted(got, key=lambda one: one["body"]) == got
    assert len(got) >= 3


@pytest.mark.parametrize("command", ["SET", "RPUSH"])
@pytest.mark.parametrize("key", ["unacked.paused", "unacked.drained"])
def test_another_value_there_stops_nothing(
    worker, publish, *, server, caplog, key, command
) -> None:
    """
    The worker goes on, and says once which key it does without, and what to do.
    """
    server.client().execute_command(command, key, "x")
    with caplog.at_level(logging.WARNING):
        consumer = worker()
        for number in range(3):
            publish(number)
            consumer.run(lambda number=number: len(consumer.bodies) == number + 1)

    assert [0, 1, 2] == consumer.bodies
    assert 1 == caplog.text.count(f"does without the key {key}:")
    assert f"RENAME {key}" in caplog.text


@pytest.mark.parametrize("value", ["", "{", "[1]", '{"at": "x", "by": 7}', "\x00", '{"at": 1e999}'])
def test_whatever_says_who_paused_it_it_is_paused(worker, publish, server, value) -> None:
    """
    Anyone can write that.
    """
    client = server.client()
    client.hset("unacked.paused", "q", value)
    consumer = worker()
    publish("one")
    consumer.run(lambda: consumer.channel.fetcher.idle.closed)
    consumer.idle()
    assert [] == consumer.bodies

    assert 1 == resume(client, KEYS, "q", "me").changed
    consumer.run(lambda: consumer.bodies)
