"""Messages that are unacked, restored, and acknowledged late."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Event, Thread

import pytest

from task_server.transport import fetcher
from task_server.transport.timing import Timing
from task_server.transport.unacked import redeliver
from tests.integration.transport.peers import Started
from tests.support.wait import PATIENCE, until


@pytest.fixture
def refusing(server: Started) -> Callable[[], AbstractContextManager[None]]:
    """Let the server refuse to write, as it does without memory or room on its disk."""

    @contextmanager
    def refuse() -> Iterator[None]:
        server.client().config_set("min-replicas-to-write", "1")
        try:
            yield
        finally:
            server.client().config_set("min-replicas-to-write", "0")

    return refuse


def test_an_unacked_message_does_not_multiply(worker, publish, server) -> None:
    """
    A task longer than the visibility time-out (an ETA too) is not run again while its worker lives.
    """
    holding = worker(visibility_timeout=2, unacked_restore_interval=0.5)
    other = worker(visibility_timeout=2, unacked_restore_interval=0.5)
    holding.acknowledges = False
    publish("long")
    holding.run(lambda: holding.bodies)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        holding.turn()
        other.turn()
    holding.messages[0].ack()
    holding.idle()

    assert (["long"], []) == (holding.bodies, other.bodies)
    assert 0 == server.client().hlen("unacked")


def test_a_worker_whose_clock_is_ahead_takes_nothing_from_others(
    worker, publish, server, monkeypatch
) -> None:
    """
    Renewals and expiry go by the server's clock.
    """
    options = {"visibility_timeout": 3600, "unacked_restore_interval": 0.5, "poison_limit": 1}
    holding = worker(**options)
    holding.acknowledges = False
    publish("long")
    holding.run(lambda: holding.bodies)
    for module in (fetcher, redeliver):
        monkeypatch.setattr(module, "time", lambda: time.time() + 7200)
    ahead = worker(**options)
    ahead.acknowledges = False
    monkeypatch.setattr(Timing, "recovery_grace", 0.0)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        ahead.turn()
    publish("short")
    ahead.run(lambda: ahead.bodies)
    ahead.channel.qos.renew()
    seconds, _ = server.client().time()
    times = server.client().zrange("unacked_index", 0, -1, withscores=True)

    assert (["long"], ["short"]) == (holding.bodies, ahead.bodies)
    assert [pytest.approx(seconds, abs=60)] * 2 == [when for _, when in times]
    assert 0 == server.client().hlen("unacked.dead")


def test_what_a_silent_worker_had_is_run_by_another(worker, publish) -> None:
    """
    After the visibility timeout without a renewal another worker gets the message, once.
    """
    hanging = worker(visibility_timeout=2, unacked_restore_interval=0.5)
    hanging.acknowledges = False
    publish("left")
    hanging.run(lambda: hanging.bodies)
    others = [worker(visibility_timeout=2, unacked_restore_interval=0.5) for _ in range(2)]
    end = time.monotonic() + PATIENCE
    while not any(each.bodies for each in others):
        assert time.monotonic() < end
        for each in others:
            each.turn()
    for each in others:
        each.idle()

    assert [["left"]] == [each.bodies for each in others if each.bodies]
    message = next(each.messages[0] for each in others if each.messages)
    assert message.headers["redelivered"]


def test_a_message_without_a_queue_is_kept(worker, publish, server, caplog) -> None:
    """
    An unacked message whose queue is bound no more stays registered; Kombu forgets it.
    """
    consumer = worker(visibility_timeout=1, unacked_restore_interval=0.5)
    entry = '[{"properties": {"delivery_tag": "t", "priority": 0}, "headers": {}}, "gone", "away"]'
    client = server.client()
    client.hset("unacked", "t", entry)
    client.zadd("unacked_index", {"t": 1})
    with caplog.at_level(logging.ERROR):
        consumer.run(lambda: "no queue is bound to exchange 'gone'" in caplog.text, "the error")

    assert entry.encode() == client.hget("unacked", "t")


def test_a_rejected_message_goes_to_the_end(worker, publish, server) -> None:
    """
    A message that is requeued is delivered again after the others.
    """
    for number in range(3):
        publish(number)
    consumer = worker(limit=1)
    consumer.acknowledges = False
    consumer.run(lambda: consumer.bodies == [0])
    consumer.acknowledges = True
    consumer.messages[0].requeue()
    consumer.run(lambda: len(consumer.bodies) == 4)

    assert [0, 1, 2, 0] == consumer.bodies


def test_closing_restores_in_order(worker, publish, server) -> None:
    """
    What a worker had not acknowledged when it was closed is redelivered, in the old order.
    """
    for number in range(250):
        publish(number) if number < 5 else None
    first = worker(limit=5)
    first.acknowledges = False
    first.run(lambda: len(first.bodies) == 5)
    first.close()
    assert 0 == server.client().hlen("unacked")
    second = worker()
    second.run(lambda: len(second.bodies) == 5)

    assert [0, 1, 2, 3, 4] == second.bodies


def test_an_acknowledgement_after_the_connection_is_said_by_the_next(
    worker, publish, server
) -> None:
    """
    A task that ends while its connection is lost is acknowledged by the next one.
    """
    first = worker(limit=1)
    first.acknowledges = False
    publish("slow")
    first.run(lambda: first.bodies)
    first.channel.do_restore = False  # as if Redis did not answer
    first.close()
    assert 1 == server.client().hlen("unacked")
    first.messages[0].ack()
    second = worker(limit=1)
    second.run(lambda: server.client().hlen("unacked") == 0, "the acknowledgement")

    assert [] == second.bodies
    assert 0 == server.client().zcard("unacked_index")


def test_an_acknowledgement_that_is_refused_is_sent_again(
    worker, publish, server, caplog, refusing
) -> None:
    """
    A server that refuses to write ends no worker; it gets the acknowledgements afterwards.
    """
    consumer = worker(visibility_timeout=1, poison_limit=0)
    consumer.acknowledges = False
    publish(1)
    publish(2)
    consumer.run(lambda: len(consumer.bodies) == 2)
    consumer.idle()
    with refusing(), caplog.at_level(logging.WARNING):
        consumer.messages[0].ack()
        consumer.messages[1].reject()
        consumer.run(lambda: "rejects the fetch" in caplog.text, "the refusal")
    assert not consumer.channel.qos._delivered.keys() - consumer.channel.qos._dirty
    consumer.run(lambda: server.client().hlen("unacked") == 0, "the acknowledgements")

    assert [1, 2] == consumer.bodies
    assert 1 == caplog.text.count("an acknowledgement will be sent again: ")


def test_what_cannot_be_given_back_is_later(worker, publish, server, caplog, refusing) -> None:
    """
    A message that is requeued while the server refuses to write is delivered again, once.
    """
    consumer = worker(visibility_timeout=1)
    consumer.acknowledges = False
    publish("back")
    consumer.run(lambda: consumer.bodies)
    consumer.acknowledges = True
    with refusing(), caplog.at_level(logging.WARNING):
        consumer.messages[0].requeue()
        consumer.run(lambda: "rejects the fetch" in caplog.text, "the refusal")
    consumer.run(lambda: len(consumer.bodies) == 2)
    consumer.idle()

    assert (["back"] * 2, 0) == (consumer.bodies, server.client().hlen("unacked"))


def test_acknowledgements_on_their_way_outlive_the_channel(worker, publish, server) -> None:
    """
    One greenlet tries to send them while Redis is away, another closes the channel meanwhile.
    """
    first = worker()
    publish("done")
    first.run(lambda: first.bodies)
    acks = first.channel.unacked.acks
    assert 1 == server.client().hlen("unacked")
    tags = acks.take()
    first.close()
    acks.put_back(tags)

    second = worker()
    second.run(lambda: not server.client().hlen("unacked"), "the acknowledgement")

    assert [] == second.bodies


def test_refused_signs_of_life_are_one_line(worker, publish, caplog, refusing) -> None:
    """
    While the server refuses to write a full worker says so once, and goes on.
    """
    consumer = worker(limit=1, visibility_timeout=1)
    consumer.acknowledges = False
    publish("long")
    consumer.run(lambda: consumer.bodies)
    with refusing(), caplog.at_level(logging.WARNING):
        consumer.run(lambda: "lease renewal" in caplog.text, "the refusal")
        end = time.monotonic() + 1
        consumer.run(lambda: time.monotonic() > end)

    # Of a script Redis 6.2 says it with more words.
    assert 1 == caplog.text.count("Redis rejected the lease renewal: ")
    assert "NOREPLICAS" in caplog.text
    assert "Traceback" not in caplog.text


def test_an_acknowledgement_of_another_thread_ends_the_wait(worker, publish) -> None:
    """
    A full worker goes on as soon as a greenlet or thread acknowledges, not after its poll.
    """
    consumer = worker(limit=1)
    consumer.acknowledges = False
    for number in range(4):
        publish(number)
    consumer.run(lambda: consumer.bodies == [0])

    def seconds() -> float:
        """Return how long the next message takes, if one is acknowledged meanwhile."""
        turning, number = Event(), len(consumer.bodies)

        def acknowledge() -> None:
            turning.wait()
            Event().wait(0.1)
            consumer.messages[-1].ack()

        thread = Thread(target=acknowledge)
        thread.start()
        began = time.monotonic()
        turning.set()
        while len(consumer.bodies) == number:
            if consumer.hub is None:
                consumer.connection.drain_events(timeout=60)
            else:
                consumer.hub.run_once()
        thread.join()
        return time.monotonic() - began

    # The event loop of Kombu 5.6 cannot be woken; it polls each second.
    sleeps = consumer.hub is not None and not hasattr(consumer.hub, "_waker")
    # A busy machine delays some of them, not all.
    assert any(seconds() < (1.6 if sleeps else 0.6) for _ in range(3))


def test_a_forked_child_leaves_the_connection_alone(worker, publish) -> None:
    """
    A child that ends does not close or use its parent's connections.
    """
    consumer = worker()
    consumer.idle()
    child = os.fork()
    if child == 0:
        os._exit(0)
    until(lambda: os.waitpid(child, 0), "the child")
    publish("after")
    consumer.run(lambda: consumer.bodies)

    assert ["after"] == consumer.bodies
