"""Delayed tasks: they wait in Redis, not in a worker, until they are due."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import kombu
import pytest

from task_server import transport
from task_server.transport import idle
from task_server.transport.store import delayed
from task_server.transport.store.keys import Keys
from task_server.transport.store.scripts import RELEASE
from tests.integration.transport.peers import Started, user
from tests.support.wait import until

#: A worker that keeps what is due within this many seconds.
DELAYS = {"delay_seconds": 1}

HOUR = 3600.0


def moment(seconds: float, zone: timezone = UTC) -> str:
    """Return the time in so many *seconds*, as Celery writes an ETA."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).astimezone(zone).isoformat()


@pytest.fixture
def delay(publish: Callable[..., None]) -> Callable[..., None]:
    """Publish a task that is due in some seconds, with Kombu's own transport."""

    def send(body: Any, seconds: float, *args: Any, **options: Any) -> None:
        publish(
            body, *args, headers={"task": "t", "id": str(body), "eta": moment(seconds)}, **options
        )

    return send


def put(server: Started, body: Any, due: float, name: str = "q") -> None:
    """Delay a task that another worker has found, *due* in seconds from now."""
    message = {
        "body": json.dumps(body),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": "t", "id": str(body), "eta": moment(due)},
        "properties": {
            "delivery_tag": f"tag-{body}",
            "delivery_info": {"exchange": "", "routing_key": "q"},
        },
    }
    member = f"1.5:{uuid4()} {json.dumps(message)}"
    server.client().zadd(Keys().delayed_of(name), {member: time.time() + due})


def waiting(server: Started) -> int:
    """Return how many tasks are delayed."""
    return sum(delayed.counts(server.client(), Keys()).values())


@contextmanager
def stock(connect: Callable[..., kombu.Connection], queue: str = "q") -> Iterator[Any]:
    """Have a consumer with Kombu's own transport: it returns the next body."""
    transport.uninstall()
    try:
        with connect() as connection:
            found: list[Any] = []

            def receive(body: Any, message: Any) -> None:
                found.append(body)
                message.ack()

            with kombu.Consumer(
                connection, [kombu.Queue(queue, routing_key=queue)], callbacks=[receive]
            ):

                def next_body() -> Any:
                    while not found:
                        connection.drain_events(timeout=20)
                    return found.pop(0)

                yield next_body
    finally:
        transport.install()


def test_what_is_due_later_waits_in_redis(worker, delay, publish, server) -> None:
    """
    A worker takes what is due now, and holds nothing of what is due later.
    """
    delay("later", HOUR)
    delay("soon", 0.5)
    delay("past", -HOUR)
    publish("now")
    consumer = worker(**DELAYS)
    consumer.acknowledges = False
    consumer.run(lambda: len(consumer.bodies) == 3)
    consumer.idle()

    assert ["soon", "past", "now"] == consumer.bodies
    assert 3 == server.client().hlen("unacked") == server.client().zcard("unacked_index")
    assert {"q": 1} == delayed.counts(server.client(), Keys())
    assert 0 == server.client().llen("q")


def test_it_comes_when_it_is_due(worker, delay, server, monkeypatch) -> None:
    """
    An idle worker wakes when a task is due, in both loops, with no message that wakes it.
    """
    # Its next poll would come too late.
    monkeypatch.setattr(idle, "IDLE_POLL", HOUR)
    consumer = worker(**DELAYS)
    consumer.idle()
    due = time.time() + 2
    delay("one", 2)
    consumer.run(lambda: waiting(server) == 1 or consumer.bodies)
    consumer.run(lambda: consumer.bodies)

    assert ["one"] == consumer.bodies
    assert due <= time.time()


def test_the_message_is_the_same_byte_for_byte(worker, publish, server) -> None:
    """
    What comes back is what was sent, whatever is in it.
    """
    body = {"name": "Zoë \ud83d\ude00", "big": 2**60, "float": 1e-7, "text": 'a "b" \\u0000 '}
    publish(body, headers={"task": "t", "id": "1", "eta": moment(HOUR), "expires": None})
    client = server.client()
    before = client.lindex("q", 0)
    consumer = worker(**DELAYS)
    consumer.run(lambda: waiting(server) == 1)
    (found,) = delayed.all_of(client, Keys())
    assert 1 == RELEASE.run(client, (Keys().delayed_of("q"), "q"), ())

    assert before == found.text == client.lindex("q", 0)


def test_two_equal_messages_are_two(worker, publish, server) -> None:
    """
    A message that was sent twice, byte for byte, is delayed twice.
    """
    publish("one", headers={"task": "t", "id": "1", "eta": moment(HOUR)})
    client = server.client()
    client.lpush("q", client.lindex("q", 0))
    consumer = worker(**DELAYS)
    consumer.run(lambda: client.llen("q") == 0)

    assert {"q": 2} == delayed.counts(client, Keys())


def test_due_tasks_go_before_others_in_order(worker, publish, server) -> None:
    """
    They are taken by priority, those of one priority in the order in which they are due.
    """
    for number in range(3):
        publish(f"waits {number}")
        publish(f"urgent {number}", priority=3)
    for number in (3, 1, 2):
        put(server, f"due {number}", number - 5)
        put(server, f"due urgent {number}", number - 5, "q\x06\x163")
    consumer = worker(limit=50)
    consumer.run(lambda: len(consumer.bodies) == 12)

    expected = [*(f"due {n}" for n in (1, 2, 3)), *(f"waits {n}" for n in range(3))]
    urgent = [*(f"due urgent {n}" for n in (1, 2, 3)), *(f"urgent {n}" for n in range(3))]
    assert expected == [body for body in consumer.bodies if "urgent" not in body]
    assert urgent == [body for body in consumer.bodies if "urgent" in body]


def test_many_that_are_due_come_in_order(worker, server) -> None:
    """
    More than one call returns: each once, and in the order in which they are due.
    """
    pipe = server.client().pipeline()
    for number in range(1500):
        message = {
            "body": str(number),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"task": "t", "eta": moment(number - 2000)},
            "properties": {"delivery_tag": f"tag-{number}", "delivery_info": {}},
        }
        pipe.zadd(
            "unacked.delayed:q", {f"1:{number} {json.dumps(message)}": time.time() + number - 2000}
        )
    pipe.execute()
    consumer = worker(limit=100)
    consumer.run(lambda: len(consumer.bodies) == 1500)

    assert list(range(1500)) == consumer.bodies
    assert 0 == waiting(server)


#: What a script cannot judge, or what is no ETA of Celery's: a worker gets it at once.
UNJUDGED = [
    "2099-01-01T00:00:00",
    "2099-01-01T00:00:00.123456",
    "2099-01-01 00:00:00+00:00",
    "2099-01-01T00:00:00+0000",
    "2099-13-01T00:00:00+00:00",
    "2099-02-30T00:00:00+00:00",
    "2100-02-29T00:00:00+00:00",
    "2099-00-01T00:00:00+00:00",
    "2099-01-00T00:00:00+00:00",
    "2099-01-01T24:00:00+00:00",
    "2099-01-01T00:60:00+00:00",
    "2099-01-01T00:00:00+24:00",
    "2099-01-01T00:00:00+00:60",
    "2099-01-01T00:00:00.+00:00",
    "2099-01-01T00:00:00..5+00:00",
    "2099-01-01T00:00:00Zulu",
    "0000-01-01T00:00:00+00:00",
    "9999-12-31T23:59:59+00:00",
    "",
    "tomorrow",
    "2099-01-01T00:00:00+00:00" + "x" * 1_000_000,
    4070908800,
    4070908800.5,
    float("nan"),
    float("inf"),
    True,
    [2099, 1, 1],
    ["2099-01-01T00:00:00+00:00"],
    {"eta": "2099-01-01T00:00:00+00:00"},
]


@pytest.mark.parametrize("loop", ["hub"])
@pytest.mark.parametrize("eta", UNJUDGED, ids=lambda eta: str(eta)[:40])
def test_what_no_script_can_judge_goes_to_a_worker(worker, publish, server, eta) -> None:
    """
    An ETA without an offset, or that is none at all, is Celery's business, as before.
    """
    publish("one", headers={"task": "t", "id": "1", "eta": eta})
    consumer = worker(**DELAYS)
    consumer.run(lambda: consumer.bodies or server.client().llen("unacked.unreadable"))

    assert 0 == waiting(server)


@pytest.mark.parametrize("loop", ["hub"])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"eta": "2099-01-01T00:00:00+00:00"}, id="no task"),
        pytest.param({"eta": "2099-01-01T00:00:00+00:00", "task": 5}, id="task is a number"),
        pytest.param({"task": "t", "eta": None}, id="none"),
        pytest.param({}, id="no headers"),
    ],
)
def test_a_message_that_is_no_delayed_task(worker, publish, server, headers) -> None:
    """
    Only a task of Celery's protocol 2 is delayed: what another's header means is unknown.
    """
    publish("one", headers=headers)
    consumer = worker(**DELAYS)
    consumer.run(lambda: consumer.bodies)

    assert 0 == waiting(server)


@pytest.mark.parametrize("loop", ["hub"])
@pytest.mark.parametrize(
    "seconds", [30, 61, HOUR, 86400, 31 * 86400, 400 * 86400, 20 * 366 * 86400]
)
@pytest.mark.parametrize("hours", [0, 2, -11.5, 5.75, 14])
def test_when_a_task_is_due(worker, publish, server, seconds: float, hours: float) -> None:
    """
    The score is the ETA's time to the microsecond, whatever its offset, month or leap year.
    """
    zone = timezone(timedelta(hours=hours))
    eta = (datetime.now(UTC) + timedelta(seconds=seconds)).astimezone(zone)
    texts = [eta.isoformat(), eta.replace(microsecond=0).isoformat()]
    if not hours:
        texts.append(f"{eta:%Y-%m-%dT%H:%M:%S}Z")
    for text in texts:
        publish(text, headers={"task": "t", "id": text, "eta": text})
    consumer = worker(**DELAYS)
    consumer.run(lambda: waiting(server) == len(texts))
    due = {one.id: one.due for one in delayed.all_of(server.client(), Keys())}

    assert {
        text: pytest.approx(datetime.fromisoformat(text).timestamp(), abs=1e-6) for text in texts
    } == due


@pytest.mark.parametrize("loop", ["hub"])
@pytest.mark.parametrize("day", ["2096-02-29", "2099-12-31", "2100-03-01", "2072-02-28"])
def test_a_day_at_the_edge_of_a_month(worker, publish, server, day: str) -> None:
    """
    Leap years, and the centuries that are none.
    """
    eta = f"{day}T23:59:59+00:00"
    publish("one", headers={"task": "t", "id": "1", "eta": eta})
    consumer = worker(**DELAYS)
    consumer.run(lambda: waiting(server) == 1)
    (found,) = delayed.all_of(server.client(), Keys())

    assert datetime.fromisoformat(eta).timestamp() == found.due


def test_a_full_worker_returns_what_is_due_for_others(worker, publish, server, connect) -> None:
    """
    A stock worker beside one that has no room gets what is due, within a second.
    """
    publish("held")
    full = worker(limit=1)
    full.acknowledges = False
    full.run(lambda: full.bodies)
    put(server, "due", 0.2)
    full.run(lambda: server.client().llen("q") == 1)
    with stock(connect) as next_body:
        assert "due" == next_body()

    assert ["held"] == full.bodies


def test_a_worker_returns_only_what_its_queues_have(worker, server) -> None:
    """
    The delayed tasks of a queue wait for a worker that consumes it.
    """
    put(server, "other's", -5, "other")
    put(server, "own", -5)
    consumer = worker()
    consumer.run(lambda: consumer.bodies)
    consumer.idle()
    assert ["own"] == consumer.bodies
    assert {"other": 1} == delayed.counts(server.client(), Keys())

    other = worker("other")
    other.run(lambda: other.bodies)

    assert ["other's"] == other.bodies


def test_switched_off_it_returns_and_delays_nothing(worker, delay, server) -> None:
    """
    A worker that delays no tasks takes those that others have delayed, when they are due.
    """
    put(server, "due", -5)
    delay("later", HOUR)
    consumer = worker()
    consumer.run(lambda: len(consumer.bodies) == 2)

    assert ["due", "later"] == consumer.bodies


def test_with_a_prefix_and_another_database(worker, delay, server) -> None:
    """
    The keys have the prefix of all keys, once where it is the list's.
    """
    url = f"redis+socket://{server.path}?virtual_host=5"
    options = {**DELAYS, "global_keyprefix": "cl:", "url": url}
    delay("one", 2.5, **options)
    consumer = worker(**options)
    client = server.client(db=5)
    consumer.run(lambda: client.exists("cl:unacked.delayed:cl:q"))
    consumer.run(lambda: consumer.bodies)

    assert ["one"] == consumer.bodies
    assert 0 == client.exists("cl:unacked.delayed:cl:q")


@pytest.mark.parametrize("how", ["string", "list", "forbidden", "denied"])
def test_a_key_that_cannot_be_used(worker, delay, server, caplog, how: str) -> None:
    """
    Then tasks wait in a worker as before; the log names the key and the cure, and none is lost.
    """
    client, key = server.client(), "unacked.delayed:q"
    if how == "string":
        client.set(key, "x")
    elif how == "list":
        client.rpush(key, "x")
    keys = ["~q*", "~unacked", "~unacked_*", "~unacked.idle*", "~unacked.looks", "~_kombu*"]
    rules = keys if how == "forbidden" else ["~*"]
    denied = ["-rpush"] if how == "denied" else []
    delay("later", HOUR)
    delay("now", 0)
    with (
        user(server, *rules, "&*", "+@all", *denied) as url,
        caplog.at_level(logging.WARNING),
    ):
        consumer = worker(url=url, **DELAYS)
        consumer.run(lambda: len(consumer.bodies) == 2)
        consumer.close()
    told = [line for line in caplog.messages if "without the key unacked.delayed:" in line]

    assert ["later", "now"] == consumer.bodies
    assert told
    assert len(told) == len({*told})
    cure = "RENAME" if how in ("string", "list") else "lacks"
    assert cure in told[0]


def test_a_queue_whose_set_is_odd_stops_no_other(worker, delay, server) -> None:
    """
    The tasks of the other queue are delayed, and come.
    """
    server.client().set("unacked.delayed:q", "x")
    delay("held", HOUR)
    delay("comes", 2, "r")
    consumer = worker("q", "r", **DELAYS)
    consumer.run(lambda: len(consumer.bodies) == 2)

    assert ["held", "comes"] == consumer.bodies


def test_purge_and_deletion_take_the_delayed_along(connect, server, publish) -> None:
    """
    A purge counts them, a deletion leaves none; the size of a queue is what waits.
    """
    for number in range(3):
        put(server, number, HOUR)
        put(server, number, HOUR, "q\x06\x169")
    publish("waits")
    with connect() as connection:
        channel: Any = connection.default_channel
        queue = kombu.Queue("q", kombu.Exchange("e"), routing_key="q")(channel)
        queue.declare()
        assert 1 == queue.queue_declare(passive=True).message_count
        assert 7 == queue.purge()
        assert 0 == waiting(server)

        put(server, 1, HOUR)
        queue.delete(if_empty=True)
        assert 1 == waiting(server)
        queue.delete()
        assert 0 == waiting(server)


def test_release_puts_all_back(server, publish, connect) -> None:
    """
    What is due goes to the front, the rest behind what waits, in the order of their times.
    """
    publish("waits")
    for number in (2, 1, 3):
        put(server, f"later {number}", HOUR + number)
    put(server, "due", -5)
    put(server, "urgent", HOUR, "q\x06\x169")
    put(server, "other's", HOUR, "other")

    assert {"q": 5} == delayed.release(server.client(), Keys(), "q")
    assert {"other": 1} == delayed.release(server.client(), Keys())
    assert {} == delayed.counts(server.client(), Keys())
    with stock(connect) as next_body:
        bodies = [next_body() for _ in range(6)]
    bodies.remove("urgent")
    assert ["due", "waits", "later 1", "later 2", "later 3"] == bodies


def test_garbage_in_the_set_stops_nothing(worker, server) -> None:
    """
    What is no message goes the way of what cannot be read.
    """
    client = server.client()
    client.zadd("unacked.delayed:q", {b"\xff\xfe": 1, b"no message": 2, b"": 3, b"1:1 ": 4})
    put(server, "good", -5)
    consumer = worker(**DELAYS)
    consumer.run(lambda: consumer.bodies)
    consumer.run(lambda: client.llen("unacked.unreadable") == 4)

    assert ["good"] == consumer.bodies
    assert not client.exists("unacked.delayed:q")


def test_a_large_delayed_task(worker, server) -> None:
    """
    One that is larger than what a call returns comes, and those behind it.
    """
    put(server, "x" * 3_000_000, -6)
    put(server, "small", -5)
    consumer = worker(**DELAYS)
    consumer.run(lambda: len(consumer.bodies) == 2)

    assert [3_000_000, 5] == [len(body) for body in consumer.bodies]


def test_what_is_delayed_is_delayed_again_after_a_release(worker, delay, server) -> None:
    """
    A worker that still runs moves what was released away again; it is not lost between them.
    """
    delay("later", HOUR)
    consumer = worker(**DELAYS)
    consumer.run(lambda: waiting(server) == 1)
    assert {"q": 1} == delayed.release(server.client(), Keys())
    consumer.run(lambda: waiting(server) == 1)

    assert [] == consumer.bodies


def test_idle_workers_do_not_ask_more_for_a_delayed_task(worker, delay, server) -> None:
    """
    Of twelve idle workers, one wakes for a task that is due.
    """
    workers = [worker(**DELAYS) for _ in range(12)]
    for each in workers:
        each.idle()
    delay("one", 2)
    until(lambda: [each.turn() for each in workers if each.readable()] and waiting(server) == 1)
    for each in workers:
        each.idle()
    client = server.client()
    client.config_resetstat()
    began = time.monotonic()
    until(
        lambda: (
            [
                each.turn()
                for each in workers
                if each.readable() or each.channel.fetcher.idle.is_over
            ]
            and any(each.bodies for each in workers)
        )
    )
    stats = client.info("commandstats")

    # Once when it is due, once more to find no other; and each asks every few seconds.
    polls = len(workers) * (1 + (time.monotonic() - began) / idle.IDLE_POLL)
    asked = stats.get("cmdstat_evalsha", {"calls": 0})["calls"]
    assert asked < polls + 6


def test_a_lost_connection_loses_none(worker, delay, server) -> None:
    """
    The connection ends with the reply of the fetch that delays: the task is delayed, once.
    """
    for number in range(20):
        delay(number, HOUR)
    consumer = worker(**DELAYS)
    server.client().client_kill_filter(_type="normal", skipme=True)
    consumer.connection.ensure_connection(max_retries=3)
    later = worker(**DELAYS)
    later.run(lambda: server.client().llen("q") == 0)

    assert {"q": 20} == delayed.counts(server.client(), Keys())
