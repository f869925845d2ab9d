"""Messages of tasks that no worker registers: kept as they were, and back once one does."""

import json
import threading

from task_server import transport
from task_server.transport import Hooks
from task_server.transport.store import dead_letters
from task_server.transport.store.dead_letters import DeadLetter

FAST = {"visibility_timeout": 1, "unacked_restore_interval": 0.5}


def dead_in(server) -> list[DeadLetter]:
    return dead_letters.all_of(server.client(), "unacked.dead")


def registering(worker, *tasks: str, queue: str = "q"):
    """Make a worker that registers *tasks*."""
    transport.install(hooks=Hooks(registered_tasks=lambda: set(tasks)))
    return worker(queue, **FAST)


def refused(worker, publish, server, priority: int = 0) -> bytes:
    """Let a worker refuse one message of the task `t.new`; return it as it was in its list."""
    consumer = worker(**FAST)
    consumer.acknowledges = False
    publish("it", priority=priority)
    (key,) = server.client().keys("q*")
    text = server.client().lindex(key, 0)
    consumer.run(lambda: consumer.bodies)
    consumer.channel.qos.refuse_unregistered(consumer.messages[0].delivery_tag, "t.new", "id")
    consumer.close()
    return text


def test_it_is_kept_as_it_was_with_the_reason(worker, publish, server) -> None:
    """
    It is in no list and not unacked, and a retry puts it back byte for byte.
    """
    text = refused(worker, publish, server, priority=3)
    (one,) = dead_in(server)

    assert ("not registered", "t.new", "id") == (one.reason, one.task, one.id)
    assert ("q", [], text.decode()) == (one.queue, list(one.crashes), one.text)
    assert [] == [key for key in server.client().keys("*") if key.startswith(b"q")]
    assert 0 == server.client().hlen("unacked")
    assert {"not registered": 1} == dead_letters.counts(server.client(), "unacked.dead")
    dead_letters.retry(server.client(), "unacked.dead", [one])
    assert [text] == server.client().lrange(one.lists[0], 0, -1)


def test_a_worker_that_registers_it_gets_it_once(worker, publish, server) -> None:
    """
    However many scan at the same time; of other tasks it gets none.
    """
    refused(worker, publish, server)
    others = registering(worker, "t.old")
    others.channel.unacked.restore.registered()
    assert 1 == len(dead_in(server))

    workers = [registering(worker, "t.old", "t.new") for _ in range(3)]
    threads = [
        threading.Thread(target=one.channel.unacked.restore.registered, daemon=True)
        for one in workers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert ([], 1) == (dead_in(server), server.client().llen("q"))


def test_a_worker_scans_for_them(worker, publish, server) -> None:
    """
    At its start, and from time to time: its code may have come meanwhile.
    """
    refused(worker, publish, server)
    consumer = registering(worker, "t.new")
    consumer.run(lambda: consumer.bodies)

    assert (["it"], []) == (consumer.bodies, dead_in(server))


def test_a_worker_of_other_queues_leaves_it(worker, publish, server) -> None:
    """
    Its queue has no consumer that registers it: it would come back.
    """
    refused(worker, publish, server)
    consumer = registering(worker, "t.new", queue="other")
    consumer.channel.unacked.restore.registered()

    assert (1, 0) == (len(dead_in(server)), server.client().llen("q"))


def test_what_has_crashed_or_is_forged_stays(worker, publish, server) -> None:
    """
    Only a dead letter of this reason goes back.
    """
    refused(worker, publish, server)
    client = server.client()
    (tag,) = client.hkeys("unacked.dead")
    record = json.loads(client.hget("unacked.dead", tag))
    client.hset("unacked.dead", "crashed", json.dumps(record | {"reason": "crashed"}))
    client.hset("unacked.dead", "old", json.dumps(record | {"reason": None}))
    client.hset("unacked.dead", "partly", json.dumps(record | {"lists": ["q", "elsewhere"]}))
    client.hset("unacked.dead", "forged", b"\xff{")
    consumer = registering(worker, "t.new")
    consumer.channel.unacked.restore.registered()

    assert {b"crashed", b"old", b"partly", b"forged"} == set(client.hkeys("unacked.dead"))
    assert {"crashed": 3, "not registered": 1} == dead_letters.counts(client, "unacked.dead")


def test_many_dead_letters_are_scanned_in_parts(worker, publish, server) -> None:
    """
    A scan is bounded, and the next one continues where it ended.
    """
    refused(worker, publish, server)
    client = server.client()
    filler = json.dumps({"reason": "crashed", "text": "x" * 100})
    client.hset("unacked.dead", mapping={str(number): filler for number in range(3000)})
    consumer = registering(worker, "t.new")
    scans = 0
    while not client.llen("q"):
        consumer.channel.unacked.restore.registered()
        scans += 1
        assert scans < 30

    assert 3000 == client.hlen("unacked.dead")


def test_a_dead_key_of_the_wrong_type_stops_nothing(worker, publish, server, caplog) -> None:
    """
    It is named in the log, once.
    """
    server.client().set("unacked.dead", "something else")
    consumer = registering(worker, "t.new")
    for _ in range(2):
        consumer.channel.unacked.restore.registered()
    publish("fine")
    consumer.run(lambda: consumer.bodies)

    assert ["fine"] == consumer.bodies
    assert 1 == caplog.text.count("does without the key unacked.dead")
