"""The lease of a worker's messages: what renews it, and what follows if nothing does."""

import json
import logging
import time
from threading import Event
from typing import Any

import pytest

from task_server.transport.store import owner
from task_server.transport.store.scripts import EXPIRED, RENEW, RENEW_OWN
from task_server.transport.unacked import leases as lease
from task_server.transport.unacked import native
from tests.integration.transport.peers import Started
from tests.support.wait import until

#: Of another process.
DEAD = "d" * 32

#: An ordinary one.
OPTIONS = {"visibility_timeout": 3600, "lease_seconds": 3}


def owned(
    server: Started,
    body: str,
    *,
    age: float,
    seconds: float | None = 3,
    run: str = DEAD,
    whole: bool = True,
) -> str:
    """Have the process *run* own a message, which it renewed *age* ago."""
    tag = f"tag-{body}"
    message = {
        "body": json.dumps(body),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "t", "id": body},
        "properties": {
            "delivery_tag": tag,
            "delivery_info": {"exchange": "", "routing_key": "q"},
            "priority": 0,
        },
    }
    who = f'"node": "w@gone", "pid": 7, "taken": 1.5, "run": "{run}"'
    if seconds is not None:
        who += f', "lease": {seconds:g}'
    text = json.dumps(message)[:-1]
    entry = f'[{text}, "taken_from":"q", "holder":{{{who}}}}}, "", "q"]'
    client = server.client()
    now, micros = client.time()
    score = int((now + micros / 1e6 - age) * 1024) / 1024
    client.hset("unacked", tag, entry)
    client.zadd("unacked_index", {tag: score if whole else score + 0.0003})
    return tag


def test_an_entry_says_how_long_its_lease_is(worker, publish, server) -> None:
    """
    With a lease the entry has it, and its time is a whole number of 1024ths.
    """
    consumer = worker(**OPTIONS)
    consumer.acknowledges = False
    publish("one")
    consumer.run(lambda: consumer.bodies)
    ((tag, score),) = server.client().zrange("unacked_index", 0, -1, withscores=True)
    entry = json.loads(server.client().hget("unacked", tag))

    assert 3 == entry[0]["holder"]["lease"]
    assert owner.RUN_ID == entry[0]["holder"]["run"]
    assert 0 == score * 1024 % 1
    seconds, _ = server.client().time()
    assert seconds == pytest.approx(score, abs=10)


def test_the_lease_is_no_longer_than_the_visibility_timeout(worker, publish, server) -> None:
    """
    After that workers with Kombu's transport take a message, whatever stands in it.
    """
    consumer = worker(visibility_timeout=2, lease_seconds=30)
    consumer.acknowledges = False
    publish("one")
    consumer.run(lambda: consumer.bodies)
    (entry,) = server.client().hvals("unacked")

    assert 2 == json.loads(entry)[0]["holder"]["lease"]
    assert 0.5 == consumer.channel.unacked.timing.renew_interval


def test_lease_scan_and_grace_are_under_a_minute(worker) -> None:
    """
    With the defaults what a killed worker had is delivered within 60 seconds, after an outage too.
    """
    timing = worker(visibility_timeout=3600, lease_seconds=30).channel.unacked.timing

    assert 60 > timing.lease + timing.scan_interval + timing.lease_recovery_grace
    # The time between two scans, and since the last renewal.
    assert timing.lease > timing.outage_threshold + timing.renew_interval + 5


def test_messages_of_a_dead_worker_come_after_its_lease(worker, publish, server, caplog) -> None:
    """
    Not after the visibility timeout of an hour; it says who had it. Entries without a lease wait.
    """
    owned(server, "leased", age=1)
    old = owned(server, "version 0.1", age=1000, seconds=None)
    stock = owned(server, "kombu", age=1000, seconds=None, whole=False)
    long = owned(server, "long", age=1000, seconds=3000)
    consumer = worker(**OPTIONS)
    with caplog.at_level(logging.INFO):
        consumer.run(lambda: consumer.bodies)
        consumer.idle()

    assert ["leased"] == consumer.bodies
    assert "t[leased] is redelivered; w@gone (pid 7) owned it until 20" in caplog.text
    assert {old, stock, long} == {tag.decode() for tag in server.client().hkeys("unacked")}
    assert "last_held" not in consumer.messages[0]._raw


def test_a_thread_renews_while_the_loop_does_not_turn(worker, publish, server) -> None:
    """
    A task that keeps the loop busy for longer than the lease keeps its message.
    """
    consumer = worker(**OPTIONS)
    consumer.acknowledges = False
    publish("one")
    consumer.run(lambda: consumer.bodies)
    client = server.client()
    ((_, taken),) = client.zrange("unacked_index", 0, -1, withscores=True)
    until(lambda: client.zrange("unacked_index", 0, -1, withscores=True)[0][1] > taken + 3.5, "it")

    consumer.messages[0].ack()
    consumer.idle()
    assert 0 == client.zcard("unacked_index")


def test_one_connection_renews_for_all_channels(worker, publish, server) -> None:
    """
    A process with two channels on one server has one thread and one connection more.
    """
    consumers = [worker(**OPTIONS), worker(**OPTIONS)]
    for each in consumers:
        each.acknowledges = False
        publish("one")
        each.run(lambda each=each: each.bodies)
    current = consumers[0].channel.pending.lease
    renewed = current.renewed
    until(lambda: current.renewed > renewed, "a renewal")

    assert current is consumers[1].channel.pending.lease
    assert 1 == len(current._used._available_connections)
    assert 2 == len(current.tags())


def test_the_thread_ends_with_the_last_channel(worker, publish, server) -> None:
    """
    A process that consumes no more has neither the thread nor its connection.
    """
    consumer = worker(**OPTIONS)
    publish("one")
    consumer.run(lambda: consumer.bodies)
    consumer.idle()
    current = consumer.channel.pending.lease
    until(lambda: current._used is not None, "the thread")
    consumer.close()
    until(lambda: not current._process, "the end of the thread")
    again = worker(**OPTIONS)
    again.acknowledges = False
    publish("two")
    again.run(lambda: again.bodies)
    renewed = current.renewed

    until(lambda: current.renewed > renewed, "the next thread")


def test_what_others_have_is_not_renewed_nor_given_back(worker, publish, server, caplog) -> None:
    """
    After a pause longer than the lease the worker asks first, and says what it has lost.
    """
    consumer = worker(**OPTIONS)
    consumer.acknowledges = False
    publish("one")
    publish("two")
    consumer.run(lambda: len(consumer.bodies) == 2)
    channel = consumer.channel
    first = consumer.messages[0].delivery_tag
    client = server.client()
    # Another worker has the first.
    entry = client.hget("unacked", first).replace(owner.RUN_ID.encode(), DEAD.encode())
    client.hset("unacked", first, entry)
    taken, _ = client.time()
    client.zadd("unacked_index", {first: taken})
    channel.pending.lease.renewed = native.clock() - 100
    with caplog.at_level(logging.WARNING):
        until(lambda: channel.settle() and channel.pending.lease.reported, "the news")
        assert taken == client.zscore("unacked_index", first)
        consumer.messages[0].requeue()
        consumer.messages[1].requeue()
        consumer.acknowledges = True
        consumer.run(lambda: len(consumer.bodies) == 3 and client.hlen("unacked") == 1)

    assert [first] == [tag.decode() for tag in client.hkeys("unacked")]
    assert "1 unacknowledged messages now belong to other workers" in caplog.text
    assert "two" == consumer.bodies[2]


def test_nothing_is_delivered_while_its_owner_is_unknown(worker, publish, server) -> None:
    """
    A worker that was cut off, and cannot ask, begins nothing; when it can, what is still its own.
    """
    consumer = worker(**OPTIONS)
    consumer.acknowledges = False
    publish("one")
    consumer.run(lambda: consumer.bodies)
    qos, current = consumer.channel.qos, consumer.channel.pending.lease
    tag = consumer.messages[0].delivery_tag
    client = server.client()
    client.config_set("min-replicas-to-write", "1")
    try:
        until(lambda: current.error, "a refused renewal")
        current.renewed = native.clock() - 100
        refused = (consumer.channel.settle(), qos.may_start(tag))
    finally:
        client.config_set("min-replicas-to-write", "0")

    assert (False, False) == refused
    assert (True, True) == (consumer.channel.settle(), qos.may_start(tag))


def test_what_dead_processes_had_is_delivered_at_once(worker, publish, server) -> None:
    """
    Those that are known to be dead; what others have stays, and a message of 1 MB is no matter.
    """
    for number in range(5):
        owned(server, f"dead-{number}", age=0)
    owned(server, "big" + "x" * 1_000_000, age=0)
    other = owned(server, "other", age=0, run="e" * 32)
    stock = owned(server, "kombu", age=0, seconds=None, whole=False)
    consumer = worker(visibility_timeout=3600, lease_seconds=600)
    consumer.channel.qos.restore_runs([DEAD])
    consumer.run(lambda: len(consumer.bodies) == 6)
    consumer.idle()

    assert {other, stock} == {tag.decode() for tag in server.client().hkeys("unacked")}


def test_what_a_clock_that_was_put_back_hides_is_found(worker, publish, server) -> None:
    """
    The times of a dead worker may lie in the future of the server's clock.
    """
    owned(server, "ahead", age=-7200)
    stock = owned(server, "kombu", age=-7200, seconds=None, whole=False)
    consumer = worker(**OPTIONS)
    consumer.run(lambda: consumer.bodies == ["ahead"])

    seconds, _ = server.client().time()
    assert seconds + 7000 < server.client().zscore("unacked_index", stock)


def looked(client: Any, *, since: float, last: float, gap: float = 10) -> None:
    """Have workers with *gap* scan *since* then, and *last* then."""
    client.hset("unacked.looks", mapping={f"since {gap:g}": since, f"last {gap:g}": last})


def due(client: Any, *, lease_seconds: Any = 3, gap: float = 10, first: int = 0) -> list[Any]:
    limits = [3600, gap, 60, first, 100, lease_seconds, 15]
    answer = EXPIRED.run(client, ["unacked_index", "unacked"], [*limits, "unacked.looks", "", ""])
    return [*answer[:3], *answer[6:]]


def test_a_large_entry_without_an_owner_is_read_in_one_pass(server) -> None:
    """
    One of Kombu's own workers, whose time is a whole number of 1024ths by chance, has no marker.

    Searched for again from each of its characters, it would keep Redis busy for hours.
    """
    client = server.client()
    tag = owned(server, "one", age=4000, seconds=None)
    client.hset("unacked", tag, json.dumps([{"body": "{" * (5 << 20)}, "", "q"]))
    seconds, _ = client.time()
    looked(client, since=seconds - 9000, last=seconds)

    assert tag.encode() == due(client)[3]


def test_after_an_outage_those_that_live_have_time_to_say_so(server) -> None:
    """
    What was not renewed during an outage is not due before the grace is over; see the script.
    """
    client = server.client()
    tag = owned(server, "one", age=300)
    seconds, _ = client.time()
    looked(client, since=seconds - 9000, last=seconds - 300)

    first = due(client)
    looked(client, since=seconds - 20, last=seconds)
    second = due(client)

    assert ([b"0"], []) == ([first[1]], first[3:])
    assert 14 < float(first[0]) <= 15
    assert [tag.encode()] == second[3::2]
    # Those without a lease wait for a minute.
    assert 30 < float(second[0]) <= 40


@pytest.mark.parametrize("other", ["version 0.1", "a longer lease"])
def test_scans_of_other_workers_hide_no_outage(other: str, server) -> None:
    """
    Workers that count with longer gaps may be back first: what they take for none was one.
    """
    client = server.client()
    owned(server, "one", age=13)
    seconds, _ = client.time()
    for gap in ("", " 10", " 16"):
        fields = {f"since{gap}": seconds - 9000, f"last{gap}": seconds - 12}
        client.hset("unacked.looks", mapping=fields)
    if other == "version 0.1":
        # As its script writes when it comes back.
        client.hset("unacked.looks", "last", seconds)
    else:
        assert [] == due(client, lease_seconds=60, gap=16)[3:]
    found = due(client)

    assert [] == found[3:]
    assert 14 < float(found[0]) <= 15


def test_ten_thousand_messages_of_others_are_scanned_quickly(server) -> None:
    """
    Of those without a lease no entry is read, or one by chance, however long they are.
    """
    client = server.client()
    now, _ = client.time()
    big = "x" * 1_000_000
    with client.pipeline(transaction=False) as pipe:
        for number in range(10_000):
            pipe.hset("unacked", f"t{number}", big if number < 50 else "x")
            pipe.zadd("unacked_index", {f"t{number}": now - 100 + number / 1e5 + 1e-4})
        pipe.execute()
    # Filling it may take longer than workers may leave between two scans.
    looked(client, since=now - 9000, last=client.time()[0])
    client.config_resetstat()
    seen, first = -1, 0
    while seen:
        _, _, seen, *tags = due(client, first=first)
        assert [] == tags
        first += seen
    calls = client.info("commandstats")

    assert 10_000 == first
    # By chance one in four thousand is read.
    assert calls.get("cmdstat_hget", {"calls": 0})["calls"] < 100


def test_a_renewal_of_ten_thousand_is_cheap(server) -> None:
    """
    A thousand messages a call, without reading their entries.
    """
    client = server.client()
    tags = [f"t{number}" for number in range(10_000)]
    client.zadd("unacked_index", dict.fromkeys(tags, 1))
    client.config_resetstat()
    for first in range(0, 10_000, lease.BATCH):
        RENEW.run(client, ["unacked_index"], ["1", *tags[first : first + lease.BATCH]])
    spent = client.info("commandstats")["cmdstat_evalsha"]

    assert 10 <= spent["calls"] <= 11
    # Some 10 ms; a machine that is busy may need more.
    assert spent["usec"] < 1_000_000
    assert 0 == client.zcount("unacked_index", 1, 1)


def test_a_message_that_speaks_of_a_holder_is_not_believed(server) -> None:
    """
    Only what the fetch has written behind it counts, whatever stands in the message.
    """
    client = server.client()
    forged = f'"holder":{{"run": "{owner.RUN_ID}", "lease": 3600}}'
    tag = owned(server, "one", age=10)
    entry = client.hget("unacked", tag).decode()
    client.hset("unacked", tag, entry.replace('"headers": {', f'"headers": {{{forged}, ', 1))
    _, *lost = RENEW_OWN.run(client, ["unacked", "unacked_index"], [lease.OWN_RUN, tag])
    seconds, _ = client.time()
    looked(client, since=seconds - 9000, last=seconds)

    assert [tag.encode()] == lost
    assert [tag.encode()] == due(client)[3::2]


@pytest.mark.parametrize(
    "loop", ["drain_events", pytest.param("hub", marks=pytest.mark.slow)], indirect=True
)
def test_redis_away_for_many_leases_takes_nothing_from_the_living(worker, publish, server) -> None:
    """
    No worker can renew while it hangs; when it is back, living workers renew first.
    """
    consumer, looking = worker(**OPTIONS), worker("q", **OPTIONS)
    consumer.acknowledges = False
    publish("long")
    consumer.run(lambda: consumer.bodies)
    client = server.client()
    client.execute_command("CLIENT", "PAUSE", 9_000, "ALL")
    paused = time.monotonic()
    Event().wait(0.1)
    client.ping()
    assert time.monotonic() - paused > 8
    end = time.monotonic() + 5
    while time.monotonic() < end:
        looking.turn()
    consumer.messages[0].ack()

    assert ["long"] == consumer.bodies + looking.bodies
