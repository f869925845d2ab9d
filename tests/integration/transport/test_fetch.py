"""What a worker gets, in which order, and how many at a time."""

import json
import logging
import os

import kombu
import pytest

from task_server import transport
from tests.support.wait import until


def stock_order(connect, publish_all, queues, strategy) -> list[str]:
    """Return the order in which Kombu's own transport delivers."""
    publish_all()
    order: list[str] = []
    transport.uninstall()
    try:
        with (
            connect(queue_order_strategy=strategy) as connection,
            kombu.Consumer(
                connection,
                [kombu.Queue(name, routing_key=name) for name in queues],
                callbacks=[lambda body, message: (order.append(body), message.ack())],
            ),
        ):
            while len(order) < 24:
                connection.drain_events(timeout=60)
    finally:
        transport.install()
    return order


@pytest.mark.parametrize("strategy", ["round_robin", "priority", "sorted"])
def test_the_order_is_that_of_brpop(worker, connect, publish, strategy) -> None:
    """
    Over queues and priorities a worker gets messages in the order that Kombu's own gives.
    """
    queues = ["b", "a", "c"]

    def publish_all() -> None:
        for number in range(2):
            for queue in queues:
                for priority in (9, 0, 3, 6):
                    publish(f"{queue}{priority}-{number}", queue, priority)

    expected = stock_order(connect, publish_all, queues, strategy)
    publish_all()
    consumer = worker(*queues, limit=50, queue_order_strategy=strategy)
    consumer.run(lambda: len(consumer.bodies) == 24)

    assert expected == consumer.bodies


def test_no_more_than_the_limit_is_fetched(worker, publish, server) -> None:
    """
    A worker takes as many messages as it may hold, and the rest stay in the queue.
    """
    for number in range(10):
        publish(number)
    consumer = worker(limit=3)
    consumer.acknowledges = False
    consumer.run(lambda: len(consumer.bodies) == 3)
    consumer.turn()

    assert [0, 1, 2] == consumer.bodies
    assert 7 == server.client().llen("q")
    assert 3 == server.client().hlen("unacked")

    for message in list(consumer.messages):
        message.ack()
    consumer.acknowledges = True
    consumer.run(lambda: len(consumer.bodies) == 10)
    consumer.idle()

    assert list(range(10)) == consumer.bodies
    assert 0 == server.client().hlen("unacked")
    assert 0 == server.client().zcard("unacked_index")


def test_what_is_registered_is_what_kombu_registers(worker, publish, connect, server) -> None:
    """
    The entry of an unacked message is the one that Kombu writes, its list, and its owner.
    """
    publish({"name": "Zoë", "nothing": None, "big": 2**60})
    consumer = worker()
    consumer.acknowledges = False
    consumer.run(lambda: consumer.bodies)
    message = consumer.messages[0]
    info = message.delivery_info
    entry = json.loads(server.client().hget("unacked", message.delivery_tag))
    holder = entry[0].pop("holder")

    # What is delivered knows its list too, for where a failed task is sent again.
    assert [message._raw, info["exchange"], info["routing_key"]] == entry
    assert "q" == entry[0]["taken_from"]
    assert os.getpid() == holder["pid"]
    assert pytest.approx(holder["taken"], abs=5) == server.client().zscore(
        "unacked_index", message.delivery_tag
    )


def test_an_unreadable_message_moves_to_their_list(worker, publish, server, caplog) -> None:
    """
    What is no message is kept in a list and named in the log; the next one is delivered.
    """
    server.client().lpush("q", b"not a message", b"[]", b'{"properties": {}}')
    publish("good")
    consumer = worker()
    with caplog.at_level(logging.ERROR):
        consumer.run(lambda: consumer.bodies)

    assert ["good"] == consumer.bodies
    assert 3 == server.client().llen("unacked.unreadable")
    assert 3 == caplog.text.count("cannot be read")


def test_half_a_surrogate_pair_is_a_message(worker, publish, server) -> None:
    r"""
    Python's JSON writes "\ud83d", which the server's decoder refuses; it is delivered.
    """
    consumer = worker()
    publish({"text": "half: \ud83d, and a backslash \\ud83d"})
    consumer.run(lambda: consumer.bodies)

    assert [{"text": "half: \ud83d, and a backslash \\ud83d"}] == consumer.bodies
    assert 0 == server.client().llen("unacked.unreadable")


def test_without_acknowledgement_messages_are_taken_as_ever(connect, publish, server) -> None:
    """
    A consumer without acknowledgement registers nothing.
    """
    publish("one")
    got: list[str] = []
    with connect() as connection:
        consumer = kombu.Consumer(
            connection,
            [kombu.Queue("q", routing_key="q")],
            no_ack=True,
            callbacks=[lambda body, _: got.append(body)],
        )
        with consumer:
            connection.drain_events(timeout=60)
            assert consumer.channel.passthrough

    assert ["one"] == got
    assert 0 == server.client().hlen("unacked")


def test_one_call_of_drain_events_delivers_one_message(connect, publish) -> None:
    """
    `drain_events` delivers one message a call, though a fetch brings many.
    """
    for number in range(5):
        publish(number)
    got: list[int] = []
    with connect() as connection:
        consumer = kombu.Consumer(
            connection,
            [kombu.Queue("q", routing_key="q")],
            prefetch_count=5,
            callbacks=[lambda body, message: (got.append(body), message.ack())],
        )
        with consumer:
            for count in range(1, 6):
                connection.drain_events(timeout=60)
                assert count == len(got)

    assert [0, 1, 2, 3, 4] == got


def test_what_was_fetched_and_not_run_goes_back_unchanged(worker, publish, server) -> None:
    """
    A worker that stops puts back what it has fetched and not handed on, in its old place.
    """
    consumer = worker(limit=8)
    for number in range(8):
        publish(number)
    before = server.client().lrange("q", 0, -1)
    prefetched = consumer.channel.unacked.prefetched
    consumer.connection.transport.cycle.on_poll_start()
    consumer.consumer.cancel()

    assert before == server.client().lrange("q", 0, -1)
    assert 0 == server.client().hlen("unacked")
    assert not prefetched


@pytest.mark.parametrize("fate", ["queued", "owned by another", "done"])
def test_what_another_has_restored_is_not_put_back(worker, publish, server, fate: str) -> None:
    """
    A worker that stops leaves alone what it has fetched and lost to another since.
    """
    consumer, other = worker(limit=8), worker(limit=8)
    other.acknowledges = False
    publish("one")
    consumer.connection.transport.cycle.on_poll_start()
    client = server.client()
    until(lambda: client.hkeys("unacked"), "the fetch")
    (tag,) = client.hkeys("unacked")
    other.channel.unacked.redelivery.redeliver([tag.decode()])
    if fate != "queued":
        other.run(lambda: other.bodies)
    if fate == "done":
        other.messages[0].ack()
        other.idle()
    before = (client.lrange("q", 0, -1), client.hgetall("unacked"), client.zcard("unacked_index"))
    consumer.consumer.cancel()

    assert before == (
        client.lrange("q", 0, -1),
        client.hgetall("unacked"),
        client.zcard("unacked_index"),
    )
    assert not consumer.channel.unacked.prefetched


def test_the_script_is_sent_again_after_a_flush(worker, publish, server) -> None:
    """
    A server that has forgotten the script gets it again.
    """
    consumer = worker()
    publish(1)
    consumer.run(lambda: consumer.bodies == [1])
    server.client().script_flush()
    publish(2)
    consumer.run(lambda: consumer.bodies == [1, 2])


def test_a_full_server_still_hands_out_messages(worker, publish, server) -> None:
    """
    At `maxmemory` publishing is refused, and a worker empties the queue all the same.
    """
    consumer = worker()
    consumer.idle()
    for number in range(5):
        publish(number)
    client = server.client()
    client.config_set("maxmemory", "1")
    try:
        consumer.run(lambda: len(consumer.bodies) == 5)
    finally:
        client.config_set("maxmemory", "0")
    consumer.idle()

    assert 0 == client.hlen("unacked")


def test_a_refused_script_is_tried_again(worker, publish, server, caplog) -> None:
    """
    A server that refuses to write (its disk is full) is asked again; the worker stays.
    """
    consumer = worker()
    consumer.idle()
    client = server.client()
    publish("late")
    client.execute_command("ACL", "SETUSER", "default", "-hset", "-hsetnx")
    try:
        with caplog.at_level(logging.WARNING):
            consumer.run(lambda: "rejects the fetch" in caplog.text, "the refusal")
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+hset", "+hsetnx")
    consumer.run(lambda: consumer.bodies)

    assert ["late"] == consumer.bodies
