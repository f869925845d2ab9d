"""Many delayed tasks: that are due at once, or deleted while others become due."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from task_server.transport.store import delayed
from task_server.transport.store.delayed import Delayed
from task_server.transport.store.keys import Keys
from task_server.transport.store.scripts import DUE
from tests.integration.transport.peers import Started

#: A worker that keeps what is due within this many seconds.
DELAYS = {"delay_seconds": 1}

MANY = 100_000

#: What one call moves from one list, see `lua/delayed.lua`.
ROOM = 500

HOUR = 3600.0


def fill(server: Started, due: dict[int, float], task: str = "t") -> None:
    """Delay a task for each number, due so many seconds from now."""
    client, now = server.client(), time.time()
    members = {}
    for number, seconds in due.items():
        message = {
            "body": json.dumps(number),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {
                "task": task,
                "id": str(number),
                "eta": datetime.fromtimestamp(now + seconds, UTC).isoformat(),
            },
            "properties": {
                "delivery_tag": f"tag-{number}",
                "delivery_info": {"exchange": "", "routing_key": "q"},
            },
        }
        members[f"{now:.6f}:{number % 10_000:04d} {json.dumps(message)}"] = now + seconds
        if len(members) == 10_000:
            client.zadd(Keys().delayed_of("q"), members)
            members = {}
    if members:
        client.zadd(Keys().delayed_of("q"), members)


def waiting(server: Started) -> int:
    """Return how many tasks are delayed."""
    return sum(delayed.counts(server.client(), Keys()).values())


def calls(client: Any) -> int:
    """Return how many scripts the server has run."""
    stats = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("loop", ["hub"])
def test_a_hundred_thousand_that_are_due_at_once(worker: Any, server: Started) -> None:
    """
    They come in the order in which they were due; no call of the server moves more than some.
    """
    fill(server, {number: number / 1000 - HOUR for number in range(MANY)})
    client: Any = server.client()
    consumer = worker(limit=2000, **DELAYS)
    left, made = MANY, calls(client)
    most = 0.0
    while len(consumer.bodies) < MANY:
        consumer.turn()
        now, done = waiting(server), calls(client)
        if now < left:
            most = max(most, (left - now) / (done - made))
        left, made = now, done

    assert list(range(MANY)) == consumer.bodies
    assert 0 < most <= ROOM


@pytest.mark.parametrize("loop", ["hub"])
def test_a_deletion_leaves_out_nothing_while_others_become_due(server: Started, loop: str) -> None:
    """
    What leaves at the front meanwhile moves no place; what was due by then is not deleted.
    """
    del loop
    fill(server, dict.fromkeys(range(300), -5.0), "due")
    fill(server, {number: HOUR + number for number in range(1000, 2000)}, "a")
    fill(server, {number: HOUR + number for number in range(2000, 3000)}, "b")
    client = server.client()
    keys = Keys()
    read = []

    def matches(one: Delayed) -> bool:
        read.append(one.id)
        if len(read) % 150 == 0:
            DUE.run(client, (), (keys.delayed, "q"))
        return one.task == "a"

    assert 1000 == delayed.drop_matching(client, keys, matches)
    assert 300 == client.llen("q")
    assert {"b"} == {one.task for one in delayed.all_of(client, keys)}
    assert {"q": 1000} == delayed.counts(client, keys)
    assert 0 == delayed.drop_matching(client, keys, lambda _: True, "other")
    assert 1000 == delayed.drop_matching(client, keys, lambda _: True, "q")
    assert not client.exists(keys.delayed_of("q"))


@pytest.mark.parametrize("loop", ["hub"])
def test_a_member_of_another_program_has_no_age(server: Started, loop: str) -> None:
    """
    When it was delayed stands in its name; anything may stand there.
    """
    del loop
    client = server.client()
    names = [b"1.5:x ", b"1795766904.5:0001 ", b"", b"1795766904.500000:0001 ", b"\xff "]
    client.zadd(Keys().delayed_of("q"), {name + b"{}": HOUR for name in names})
    ages = {one.since for one in delayed.all_of(client, Keys())}

    assert {0.0, 1795766904.5} == ages
    assert len(names) == delayed.drop_matching(client, Keys(), lambda _: True)
