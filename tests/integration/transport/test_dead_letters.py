"""Messages whose workers die: counted, moved to the dead letters, redelivered, dropped."""

import json
import logging
import time

import pytest

from task_server import transport
from task_server.transport import Hooks
from task_server.transport.started.reported import ReportedTasks
from task_server.transport.store import dead_letters, owner
from task_server.transport.store.dead_letters import DeadLetter
from tests.support.wait import until

FAST = {"visibility_timeout": 1, "unacked_restore_interval": 0.5}


def dead_in(server) -> list[DeadLetter]:
    return dead_letters.all_of(server.client(), "unacked.dead")


def let_die(worker, rounds: int, **options) -> None:
    """Let *rounds* workers in a row take the message, and never renew it."""
    for _ in range(rounds):
        one = worker(**FAST, **options)
        one.acknowledges = False
        one.run(lambda one=one: one.bodies)


@pytest.fixture
def reporting(worker, monkeypatch):
    """Make workers, each as in a process of its own, that report which tasks have started."""

    def make(name: str, **options):
        monkeypatch.setattr(owner, "RUN_ID", name)
        running: set[str] = set()
        transport.install(hooks=Hooks(running=lambda: running, reports_started=True))
        one = worker(**FAST, **options)
        one.acknowledges = False
        one.running = running
        one.channel.qos.reporter.reported = ReportedTasks()
        return one

    return make


def tag_of(worker, body) -> str:
    return str(worker.messages[worker.bodies.index(body)].delivery_tag)


def test_a_message_that_crashes_its_workers_becomes_a_dead_letter(
    worker, publish, server, caplog
) -> None:
    """
    After so many workers without a renewal it is in no queue, with its history.
    """
    publish("poison")
    began = time.time()
    let_die(worker, 2, poison_limit=2)
    last = worker(**FAST, poison_limit=2)
    with caplog.at_level(logging.ERROR):
        last.run(lambda: dead_in(server), "the dead letter")
    (one,) = dead_in(server)

    assert [] == last.bodies
    assert (0, 0) == (server.client().hlen("unacked"), server.client().llen("q"))
    assert ("q", ["q"]) == (one.queue, one.lists)
    assert ["no sign of life"] * 2 == [death["reason"] for death in one.crashes]
    assert began < one.crashes[0]["taken"] < one.crashes[0]["at"] <= one.crashes[1]["taken"]
    assert "moved to dead letters: 2 workers crashed while they had it" in caplog.text


def let_report(reporting, name: str, bodies: list[str], **options):
    """Let the worker *name* take *bodies*, which are then marked, and return it before it dies."""
    one = reporting(name, **options)
    one.run(lambda: len(one.bodies) == len(bodies))
    assert sorted(bodies) == sorted(one.bodies)
    return one


def test_only_a_started_task_may_have_crashed_its_worker(reporting, publish, server) -> None:
    """
    What a dead worker had beside the tasks that it ran is delivered again, with no crash counted.
    """
    bodies = ["runs", "waits", "waits too"]
    for body in bodies:
        publish(body)
    let_report(reporting, "first", bodies, poison_limit=2)
    second = let_report(reporting, "second", bodies, poison_limit=2)
    second.channel.qos.reporter.start(tag_of(second, "runs"))
    last = reporting("last", poison_limit=2)
    last.run(lambda: len(last.bodies) == 2)
    last.run(lambda: dead_in(server), "the dead letter")
    (one,) = dead_in(server)

    assert {"waits", "waits too"} == set(last.bodies)
    assert [tag_of(second, "runs")] == [one.tag]
    assert [[0], [0]] == [
        [death["suspects"] for death in message._raw["deaths"]] for message in last.messages
    ]
    assert [0, 1] == [death["suspects"] for death in one.crashes]
    assert "run" not in one.crashes[0]


def test_a_task_that_has_ended_has_not_crashed_its_worker(reporting, publish, server) -> None:
    """
    Its end is reported, though its message is unacked still: instant neighbours are cleared.
    """
    bodies = ["ended", "runs"]
    for body in bodies:
        publish(body)
    let_report(reporting, "first", bodies, poison_limit=2)
    second = let_report(reporting, "second", bodies, poison_limit=2)
    for body in bodies:
        second.channel.qos.reporter.start(tag_of(second, body))
    second.channel.qos.reporter.end(tag_of(second, "ended"))
    last = reporting("last", poison_limit=2)
    last.run(lambda: last.bodies and dead_in(server), "both messages")

    assert ["ended"] == last.bodies
    assert [tag_of(second, "runs")] == [one.tag for one in dead_in(server)]


def test_what_ran_together_is_no_dead_letter_for_one_crash_more(reporting, publish, server) -> None:
    """
    A node that is killed again and again condemns none of the tasks that it ran beside others.
    """
    bodies = ["one", "two", "three"]
    for body in bodies:
        publish(body)
    for number in range(4):
        last = let_report(reporting, f"w{number}", bodies, poison_limit=2)
        for body in bodies:
            last.channel.qos.reporter.start(tag_of(last, body))
    last = let_report(reporting, "last", bodies, poison_limit=2)

    assert [] == dead_in(server)
    assert [[3, 3, 3, 3]] * 3 == [
        [death["suspects"] for death in message._raw["deaths"]] for message in last.messages
    ]


def test_the_task_that_had_the_processor_has_crashed_its_worker(reporting, publish, server) -> None:
    """
    Of several that had started it alone is counted.
    """
    bodies = ["waits", "crashes"]
    for body in bodies:
        publish(body)
    let_report(reporting, "first", bodies, poison_limit=2)
    second = let_report(reporting, "second", bodies, poison_limit=2)
    for body in bodies:
        second.channel.qos.reporter.start(tag_of(second, body), on_cpu=True)
        second.channel.qos.reporter.on_cpu(tag_of(second, "waits"), on=False)
    last = reporting("last", poison_limit=2)
    last.run(lambda: last.bodies and dead_in(server), "both messages")
    (one,) = dead_in(server)

    assert ["waits"] == last.bodies
    assert tag_of(second, "crashes") == one.tag
    assert [(0, False), (1, True)] == [
        (death["suspects"], death.get("certain", False)) for death in one.crashes
    ]


def test_an_unmarked_message_is_reported_beside_a_marked_one(reporting, publish, server) -> None:
    """
    What runs already when a suspect starts is reported with it: nothing is missing then.
    """
    publish("suspect")
    let_report(reporting, "first", ["suspect"], poison_limit=2)
    publish("new")
    second = let_report(reporting, "second", ["suspect", "new"], poison_limit=2)
    second.running.add(tag_of(second, "new"))
    second.channel.qos.reporter.start(tag_of(second, "suspect"))
    members = server.client().smembers("unacked.begun:second")
    # A report gets no reply.
    second.run(lambda: server.client().scard("unacked.begun:second") == 3, "the report")
    last = let_report(reporting, "last", ["suspect", "new"], poison_limit=2)

    assert members <= {b"*"} | {tag_of(second, body).encode() for body in ("suspect", "new")}
    assert [] == dead_in(server)
    assert {"suspect": [0, 2], "new": [2]} == {
        body: [death["suspects"] for death in message._raw["deaths"]]
        for body, message in zip(last.bodies, last.messages, strict=True)
    }


def test_a_crash_before_any_report_may_be_of_any_message(reporting, publish, server) -> None:
    """
    Without a report all that it had count, once: the next worker reports those.
    """
    publish("poison")
    publish("fine")
    for name in ("first", "second"):
        one = reporting(name, poison_limit=2)
        one.run(lambda one=one: len(one.bodies) == 2)
        deaths = [len(message._raw.get("deaths", ())) for message in one.messages]
        assert [name == "second"] * 2 == deaths
        if name == "second":
            one.channel.qos.reporter.start(tag_of(one, "poison"))
    third = reporting("third", poison_limit=2)
    third.run(lambda: third.bodies and dead_in(server), "both messages")
    fourth = reporting("fourth", poison_limit=2)
    fourth.run(lambda: fourth.bodies)

    assert (["fine"], ["fine"]) == (third.bodies, fourth.bodies)
    assert [1, 1] == [len(each.messages[0]._raw["deaths"]) for each in (third, fourth)]
    assert [tag_of(one, "poison")] == [each.tag for each in dead_in(server)]


def test_a_dead_message_is_delivered_again_with_no_death_counted(worker, publish, server) -> None:
    """
    A retry puts it into its queue, and it takes as many deaths again.
    """
    publish("poison")
    let_die(worker, 1, poison_limit=1)
    last = worker(**FAST, poison_limit=1)
    last.run(lambda: dead_in(server), "the dead letter")
    found = dead_in(server)
    count = dead_letters.retry(server.client(), "unacked.dead", found)
    last.run(lambda: last.bodies)

    assert (1, []) == (count, dead_in(server))
    assert "deaths" not in last.messages[0]._raw
    assert 0 == dead_letters.retry(server.client(), "unacked.dead", found)


def test_a_dead_message_is_dropped_once(worker, publish, server) -> None:
    """
    What is dropped is gone; who comes second drops nothing.
    """
    publish("poison")
    let_die(worker, 1, poison_limit=1)
    worker(**FAST, poison_limit=1).run(lambda: dead_in(server), "the dead letter")
    found = dead_in(server)

    assert [1, 0] == [dead_letters.drop(server.client(), "unacked.dead", found) for _ in range(2)]
    assert ([], 0) == (dead_in(server), server.client().llen("q"))


def test_a_clean_end_is_no_death(worker, publish, server) -> None:
    """
    A worker that gives its messages back has not died of them.
    """
    publish("fine")
    for _ in range(3):
        one = worker(poison_limit=1)
        one.acknowledges = False
        one.run(lambda one=one: one.bodies)
        one.messages[0].requeue()
        one.close()

    (text,) = server.client().lrange("q", 0, -1)
    assert {"holder", "deaths"}.isdisjoint(json.loads(text))


def test_a_lost_child_counts(worker, publish, server) -> None:
    """
    A message that is requeued because its child was lost becomes a dead letter when it is enough.
    """
    publish("poison")
    consumer = worker(poison_limit=2)
    consumer.acknowledges = False
    for number in (1, 2):
        consumer.run(lambda number=number: len(consumer.bodies) == number)
        message = consumer.messages[-1]
        consumer.channel.qos.lost.add(message.delivery_tag)
        message.requeue()
    assert not consumer.channel.qos.lost

    (one,) = dead_in(server)
    assert ["child died"] * 2 == [death["reason"] for death in one.crashes]
    assert 0 == server.client().hlen("unacked")


def test_what_a_stock_worker_had_counts_no_crash(worker, server) -> None:
    """
    Kombu's transport never renews: its ETA tasks come back, and are no dead letters.
    """
    payload = {
        "body": "WzFd",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {},
        "properties": {
            "delivery_tag": "t",
            "priority": 0,
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "q"},
        },
        # One of our workers had it once, and Kombu has rewritten it since.
        "holder": {"node": "w@host", "pid": 1, "taken": 1.0},
    }
    server.client().hset("unacked", "t", json.dumps([payload, "", "q"]))
    server.client().zadd("unacked_index", {"t": 1})
    consumer = worker(**FAST, poison_limit=1)
    consumer.run(lambda: consumer.bodies)

    assert ([[1]], []) == (consumer.bodies, dead_in(server))


def test_an_outage_of_redis_counts_no_crash(worker, publish, server) -> None:
    """
    Living workers keep their messages after Redis has hung for longer than the time-out.
    """
    options = {"visibility_timeout": 4, "unacked_restore_interval": 0.5, "poison_limit": 1}
    other = worker(**options)
    holding = worker(**options)
    holding.acknowledges = False
    other.consumer.qos(prefetch_count=1)
    publish("mine")
    holding.run(lambda: holding.bodies)
    # Longer than the time of grace that follows the first scan of all.
    end = time.monotonic() + 5
    while time.monotonic() < end:
        other.turn()
        holding.turn()
    server.client().client_pause(6000)
    server.client().ping()
    # The other scans first.
    other.turn()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        holding.turn()
        other.turn()

    assert (["mine"], []) == (holding.bodies, other.bodies)
    assert [] == dead_in(server)


def test_what_an_unread_reply_has_moved_comes_back(worker, publish, server) -> None:
    """
    A connection that breaks with a reply on the way does not hide messages for an hour.
    """
    consumer = worker()
    consumer.idle()
    for number in range(3):
        publish(number)
    consumer.channel.fetcher.idle.fetch_due = True
    consumer.channel.fetcher.wire.sent = consumer.channel.fetcher.wire.sent.NOTHING
    consumer.channel.client.connection.disconnect()
    consumer.channel.client.connection.connect()
    consumer.channel.fetcher.start()
    until(lambda: server.client().hlen("unacked"), "the messages to be taken")
    consumer.channel.client.connection.disconnect()
    consumer.channel._in_poll = None
    consumer.connection.transport.cycle._next_renewal = 0
    consumer.run(lambda: len(consumer.bodies) == 3)

    assert [0, 1, 2] == sorted(consumer.bodies)
    consumer.idle()
    assert 0 == server.client().hlen("unacked")


@pytest.mark.parametrize("forged", [7, "deaths", {"a": 1}, [7, None, ["x"]], [{}] * 300])
def test_forged_crashes_keep_no_message_back(reporting, publish, server, forged) -> None:
    """
    Anyone can write them: a dead worker's message is delivered again, with a history of ours.
    """
    publish("fine")
    (text,) = server.client().lrange("q", 0, -1)
    server.client().lset("q", 0, json.dumps(json.loads(text) | {"deaths": forged}))
    first = let_report(reporting, "first", ["fine"], poison_limit=3)
    first.channel.qos.reporter.start(tag_of(first, "fine"))
    last = let_report(reporting, "last", ["fine"], poison_limit=3)

    assert [1] == [death["suspects"] for death in last.messages[0]._raw["deaths"][-1:]]
    assert 101 >= len(last.messages[0]._raw["deaths"])
