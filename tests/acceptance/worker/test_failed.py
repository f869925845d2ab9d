"""Failed tasks are kept by real workers, on both pools, and nothing else is."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from task_server.monitor import failures
from task_server.monitor.failure import EVERY, Failure, Filter
from task_server.transport.store.failed_tasks import LARGEST
from task_server.transport.store.keys import Keys
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import EITHER, POOLS, Worker

KEYS = Keys()


def kept(broker: Redis, chosen: Filter = EVERY) -> dict[str, Failure]:
    """Return what is kept, by id."""
    found = failures.matching(broker.client, KEYS, chosen)
    return {one.id: one for one in found}


def is_done(broker: Redis) -> bool:
    """Whether nothing waits, and nobody has anything."""
    return (broker.queued(), broker.unacked()) == (0, 0)


@pytest.mark.parametrize("pool", POOLS)
def test_what_has_failed_is_kept(
    pool: str, broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    Once, with what is known of it; what was retried, ignored, rejected or expected is not.
    """
    start(pool, app="failing").hear("READY=1")

    def send(name: str, *args: Any, **options: Any) -> None:
        app.send_task(f"failing.{name}", args, task_id=options.pop("task_id", name), **options)

    send("failing", "value", 7, kwargs={"password": "mellon", "port": 5})
    send("early", "value")
    send("unacknowledged", "value")
    send("retrying", "value")
    send("insisting", "value")
    for name in ("ignoring", "rejecting", "expecting"):
        send(name)
    send("working", 1)
    send("failing", "value", task_id="expired", expires=-10)
    if pool == "prefork":
        send("dying")
    send("failing", "broken", task_id="broken")
    send("failing", "deep", task_id="deep")
    send("failing", "escapes", task_id="escapes")
    send("limited")
    send("warned")
    names = {"failing", "early", "unacknowledged", "retrying", "insisting"}
    names |= {"broken", "deep", "escapes", "limited", "warned"}
    if pool == "prefork":
        # It is acknowledged early, and its child was lost; under gevent that is the worker.
        names.add("dying")
    until(lambda: names <= set(kept(broker)) and is_done(broker))
    found = kept(broker)
    one = found["failing"]

    assert names == set(found)
    assert ("failing.failing", "celery", "failed", "ValueError", 1) == (
        *(one.task, one.queue, one.reason, one.error, one.tries),
    )
    assert "('value', 7)" == one.args
    assert "{'password': '********', 'port': 5}" == one.kwargs
    assert "no such customer redis://:********@db/0" == one.text
    assert "in fail\n" in one.traceback
    assert "mellon" not in one.traceback
    assert one.worker.startswith("w@")
    assert one.pid
    assert one.started <= one.at
    assert (1, 1, 3, 2) == tuple(
        found[name].tries for name in ("early", "unacknowledged", "retrying", "insisting")
    )
    assert ("failing.BrokenError", "celery.exceptions.SoftTimeLimitExceeded") == tuple(
        found[name].error.replace("billiard", "celery") for name in ("broken", "warned")
    )
    assert found["limited"].error.endswith("TimeLimitExceeded")
    if pool == "prefork":
        assert found["dying"].error.endswith("WorkerLostError")
    assert "in deeply\n" in found["deep"].traceback
    assert all(one.has_message for one in found.values())
    assert all(len(one.kept.record) <= LARGEST for one in found.values())


@pytest.mark.parametrize("pool", EITHER)
def test_hostile_arguments_fail_nothing(
    pool: str, broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    Huge ones, such as cannot be shown, and names with escapes: kept as far as it goes.
    """
    worker = start(pool, app="failing", environ={"FAILING_PICKLE": "1", "C_FORCE_ROOT": "1"})
    worker.hear("READY=1")
    app.send_task("failing.failing", ("value", "x" * 3_000_000), task_id="huge")
    app.send_task("failing.failing", ("value", {"a": ["é" * 900] * 40}), task_id="wide")
    odd = {"args": ("value",), "argsrepr": "\x1b]0;x\x07\x00", "kwargsrepr": "{'token': ['a', 'b'"}
    app.send_task("failing.failing", task_id="\x1b[2J\x00 id", shadow="\x1b[2J", **odd)
    until(lambda: len(kept(broker)) == 3 and is_done(broker))
    found = kept(broker)

    assert not found["huge"].has_message
    assert 3_000_000 < found["huge"].kept.size
    assert len(found["huge"].args) <= 1000
    assert not found["wide"].has_message or len(found["wide"].kept.record) <= LARGEST
    strange = found["\x1b[2J\x00 id"]
    assert ("failing.failing", "{'token': '********'") == (strange.task, strange.kwargs)
    assert strange.has_message


@pytest.mark.parametrize("pool", EITHER)
def test_the_message_is_as_it_was(
    pool: str, broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    Each field that its producer wrote, and nothing of ours.
    """
    app.send_task("failing.failing", ("value",), task_id="one", priority=3, expires=3600)
    (sent,) = [json.loads(text) for text in broker.client.lrange("celery\x06\x163", 0, -1)]
    start(pool, app="failing").hear("READY=1")
    until(lambda: "one" in kept(broker))
    one = kept(broker)["one"]

    assert sent == one.payload
    assert ("celery\x06\x163",) == one.kept.lists
    assert "celery" == one.queue


@pytest.mark.parametrize("pool", EITHER)
def test_with_0_nothing_is_kept(
    pool: str, broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    As in Celery itself.
    """
    start(pool, app="failing", environ={"TASK_SERVER_FAILURES_KEEP": "0"}).hear("READY=1")
    app.send_task("failing.failing", ("value",))
    app.send_task("failing.working", (1,), task_id="last")
    until(lambda: is_done(broker))

    assert not list(broker.client.scan_iter("unacked.failed*"))


@pytest.mark.parametrize("pool", EITHER)
def test_a_full_redis_costs_a_line_and_takes_it_later(
    pool: str, broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    The task ends all the same; its failure is kept as soon as there is room.
    """
    worker = start(pool, app="failing").ready()
    app.send_task("failing.failing", ("later",), task_id="late")
    until(lambda: broker.unacked() == 1)
    broker.client.config_set("maxmemory", 1)
    until(lambda: "failed tasks are kept later (unacked.failed)" in worker.output())
    until(lambda: broker.unacked() == 0)
    broker.client.config_set("maxmemory", 0)
    until(lambda: "late" in kept(broker))
    app.send_task("failing.working", (1,))
    until(lambda: is_done(broker))

    assert 1 == worker.output().count("failed tasks are kept later")
    assert worker.alive()


@pytest.mark.parametrize("pool", EITHER)
def test_another_key_of_that_name_costs_a_line(
    pool: str, broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    Nothing is kept, and nothing else is different; the line names the key and the cure.
    """
    broker.client.set("unacked.failed", "x")
    worker = start(pool, app="failing").ready()
    for number in range(5):
        app.send_task("failing.failing", ("value",), task_id=f"{number}")
    app.send_task("failing.working", (1,))
    until(lambda: "are not kept (unacked.failed)" in worker.output())
    until(lambda: is_done(broker))

    assert "RENAME unacked.failed" in worker.output()
    assert b"x" == broker.client.get("unacked.failed")
    assert worker.alive()


@pytest.mark.parametrize("pool", EITHER)
def test_a_flood_stays_within_the_bounds(
    pool: str, broker: Redis, app: Celery, start: Callable[..., Worker]
) -> None:
    """
    The last ones are kept, to the number; and they come in few calls, not one each.
    """
    start(pool, app="failing", environ={"TASK_SERVER_FAILURES_KEEP": "100"}).ready()
    count = 1_000
    with app.pool.acquire(block=True) as connection:
        for number in range(count):
            app.send_task("failing.failing", ("value",), task_id=f"{number}", connection=connection)
    until(lambda: is_done(broker))
    until(lambda: failures.number(broker.client, KEYS) == 100)
    until(lambda: sum(int(one) > count - 300 for one in kept(broker)) == 100)
