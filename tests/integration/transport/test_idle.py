"""An idle worker: what it costs, and how it wakes."""

import logging
import time
from threading import Thread

import pytest

from task_server.transport import idle
from task_server.transport.wire import Sent
from tests.integration.transport.peers import user
from tests.support.wait import until


def calls(server, *names: str) -> int:
    """Return how often the server was asked by one of the commands *names*."""
    stats = server.client().info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names)


def test_an_idle_worker_is_notified_of_a_message(worker, publish) -> None:
    """
    A message reaches an idle worker at once, not at its next fetch.
    """
    consumer = worker()
    delays = []
    for number in range(5):
        consumer.idle()
        thread = Thread(target=lambda: publish(time.time()))
        thread.start()
        consumer.run(lambda number=number: len(consumer.bodies) == number + 1)
        delays.append(time.time() - consumer.bodies[-1])
        thread.join()

    assert sorted(delays)[2] < idle.IDLE_POLL / 2


def test_a_message_of_any_priority_and_queue_wakes(worker, publish) -> None:
    """
    One connection is notified of all lists of all queues.
    """
    consumer = worker("q", "r", "s")

    def seconds(queue: str, priority: int) -> float:
        consumer.idle()
        number, began = len(consumer.bodies), time.monotonic()
        publish(number, queue, priority)
        consumer.run(lambda: len(consumer.bodies) > number)
        return time.monotonic() - began

    for queue, priority in [("s", 9), ("q", 0), ("r", 3), ("s", 6)]:
        # A busy machine delays some of them, not all.
        assert any(seconds(queue, priority) < idle.IDLE_POLL / 2 for _ in range(3))

    assert list(range(len(consumer.bodies))) == consumer.bodies


def test_one_message_wakes_one_or_two_of_many_workers(worker, publish, server) -> None:
    """
    Of twelve idle workers one watches; the others are not asked for one message.
    """
    workers = [worker() for _ in range(12)]

    def bodies() -> list[str]:
        return [body for each in workers for body in each.bodies]

    def asked(number: int) -> int:
        for each in workers:
            each.idle()
        before = calls(server, "evalsha", "eval")
        publish(number)
        end = time.monotonic() + idle.IDLE_POLL / 4
        while time.monotonic() < end or number not in bodies():
            for each in workers:
                if each.readable():
                    each.turn()
        return calls(server, "evalsha", "eval") - before

    # Notified: the watcher, which fetches until there is no more, and the one that takes over.
    # Besides each asks every two seconds, which is part of it on a busy machine.
    assert any(asked(number) < 9 for number in range(3))
    assert list(range(len(bodies()))) == sorted(bodies())


def test_a_busy_watcher_hands_over(worker, publish) -> None:
    """
    If the watching worker is full the next one wakes, long before its own next fetch.
    """
    first, second = worker(limit=1), worker(limit=1)
    first.idle()
    second.idle()
    first.acknowledges = False
    assert Sent.TOKEN is second.channel.fetcher.wire.sent

    publish(1)
    began = time.monotonic()
    first.run(lambda: first.bodies)
    publish(2)
    second.run(lambda: second.bodies)

    assert ([1], [2]) == (first.bodies, second.bodies)
    assert time.monotonic() - began < idle.IDLE_POLL * 0.9


def test_a_dead_watcher_delays_no_longer_than_the_next_fetch(worker, publish) -> None:
    """
    If the watching worker hangs another takes the message at its next fetch.
    """
    first, second = worker(), worker()
    first.idle()
    second.idle()
    publish("one")
    second.run(lambda: second.bodies)

    assert ["one"] == second.bodies
    assert [] == first.bodies


def test_an_idle_worker_asks_rarely(worker, server) -> None:
    """
    An idle worker costs the server no more calls than Kombu's BRPOP a second.
    """
    consumer = worker()
    consumer.idle()
    names = ("evalsha", "eval", "exists", "brpop")
    before, end = calls(server, *names), time.monotonic() + 3
    while time.monotonic() < end:
        consumer.turn()

    assert calls(server, *names) - before <= 6


def test_a_full_worker_waits_whatever_is_published(worker, publish) -> None:
    """
    A worker without credit reads the news of other queues, or it would not wait but spin.
    """
    consumer = worker("q", "r", limit=1)
    consumer.idle()
    consumer.acknowledges = False
    publish(1, "q")
    consumer.run(lambda: consumer.bodies == [1])
    publish(2, "r")
    until(consumer.readable, "the news")
    consumer.run(lambda: not consumer.readable(), "the loop to wait")
    consumer.messages[0].ack()
    consumer.run(lambda: consumer.bodies == [1, 2])


def test_workers_are_notified_of_their_queues_only(worker, server) -> None:
    """
    The server remembers the lists of messages for a worker, not what the scripts read besides.
    """
    first, second = worker(), worker()
    for each in (first, second, first):
        each.channel.fetcher.idle.fetch_due = True
        each.idle()

    assert 4 == server.client().info("stats")["tracking_total_keys"]


def test_a_server_that_took_over_notifies_as_well(worker, publish, server, caplog) -> None:
    """
    If only the connection that asks has come to it, the other one is replaced.
    """
    consumer = worker()
    consumer.idle()
    waiting = consumer.channel.fetcher.idle
    # The id of the connection on one server is unknown to another.
    waiting.listener._target += 1000
    waiting.listener._tracked = None
    waiting.fetch_due = True
    with caplog.at_level(logging.WARNING):
        consumer.run(lambda: waiting.listener._tracked is not None, "to be notified again")
        consumer.idle()

    assert "does not tell" not in caplog.text
    began = time.monotonic()
    publish("one")
    consumer.run(lambda: consumer.bodies)
    assert time.monotonic() - began < idle.IDLE_POLL * 0.9


@pytest.mark.parametrize(
    "denied", ["-client|tracking", "-client|caching", "resetchannels -subscribe"]
)
def test_a_server_without_notifications_is_polled(
    worker, publish, server, caplog, denied: str
) -> None:
    """
    A user who may not track changes gets messages all the same, and one line in the log.
    """
    rules = ("~*", "&*", "+@all", *denied.split())
    with user(server, *rules) as url, caplog.at_level(logging.WARNING):
        consumer = worker(url=url)
        consumer.idle()
        publish("one")
        consumer.run(lambda: consumer.bodies)
        consumer.idle()
        consumer.close()

    assert ["one"] == consumer.bodies
    if denied.startswith("-client"):
        assert 1 == caplog.text.count("CLIENT TRACKING")


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
def test_a_lost_connection_is_made_again(worker, publish, server, kind: str) -> None:
    """
    After the server has cut the connections a new one is notified of messages again.
    """
    consumer = worker()
    consumer.idle()
    client = server.client()
    number = 0
    while number < 3:
        if len(consumer.bodies) == number:
            number += 1
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            publish(number)
        try:
            consumer.turn()
        except consumer.connection.connection_errors:
            # Celery's part: it closes, and connects again.
            bodies = consumer.bodies
            consumer.close()
            consumer = worker()
            consumer.bodies = bodies
    consumer.run(lambda: len(consumer.bodies) == 3)

    assert [1, 2, 3] == consumer.bodies
