"""A primary becomes a replica, and lives on with all its connections."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

import pytest
import redis

from tests.support.lab import POOLS, Lane, Marks, Redis, lanes_of, send, start, until
from tests.support.lab.cell import ride
from tests.support.lab.load import Load
from tests.support.lab.table import Table
from tests.support.lab.worker import CONCURRENCY

#: Tasks whose results are counted.
TASKS = 50


@pytest.fixture
def replica(broker: Redis, redis_server: Callable[..., Redis]) -> Redis:
    """Return a replica of *broker* that is up to date."""
    data = broker.folder / "replica"
    data.mkdir()
    server = redis_server("--replicaof", "127.0.0.1", str(broker.port), data=data, name="replica")
    until(lambda: server.client.info("replication")["master_link_status"] == "up", "the replica")  # type: ignore[index]
    return server


def change_places(primary: Redis, replica: Redis) -> None:
    """
    Promote *replica*, which takes over the port, and demote *primary*.

    The connections to *primary* stay open: on them it answers READONLY to
    all that writes, and everything else as before.
    """
    replica.client.replicaof("NO", "ONE")
    primary.client.config_set("port", 0)
    replica.client.config_set("port", primary.port)
    primary.client.replicaof("127.0.0.1", primary.port)
    with pytest.raises(redis.ReadOnlyError):
        primary.client.set("a", "write")


def test_a_primary_is_demoted(broker: Redis, replica: Redis, table: Table) -> None:
    """
    The workers leave a primary that became a replica, and nothing is lost.

    As in a failover a message counts as sent when WAIT says that the replica has it.
    """
    promoted = Event()

    def replicated(lane: Lane) -> bool:
        return promoted.is_set() or bool(lane.broker.client.wait(1, 1000))

    def happen(lanes: Sequence[Lane], load: Load) -> None:
        with load.sending:
            change_places(broker, replica)
            for number, database in enumerate(broker.databases):
                database.client = replica.database(number).client
            promoted.set()

    with lanes_of(broker, RESULTS="yes") as lanes:
        ride("primary demoted, stays up", lanes, happen, table, Load(lanes, replicated))


@pytest.mark.parametrize("pool", POOLS)
def test_what_tasks_send_and_return_goes_to_the_new_primary(
    pool: str, broker: Redis, replica: Redis, marks: Marks
) -> None:
    """
    The connections by which tasks send messages and store results leave the old primary as well.
    """
    with start("atomic", pool, broker, marks, RESULTS="yes").ready():
        send(broker, range(TASKS), task="marks.relay")
        until(lambda: len(marks.ends()) == TASKS and broker.is_empty(), "tasks before")
        change_places(broker, replica)
        replica.client.flushdb()
        send(replica, range(TASKS, 2 * TASKS), task="marks.relay")
        until(lambda: len(marks.ends()) == 2 * TASKS and replica.is_empty(), "tasks afterwards")
        states = Counter(state_of(result) for result in results(replica))

    # Of each the task that sent, and the one that was sent.
    assert {"SUCCESS": 2 * TASKS} == states


def results(server: Redis) -> list[bytes]:
    keys: Any = server.client.keys("celery-task-meta-*")
    found: Any = server.client.mget(keys) if keys else []
    return list(found)


def state_of(result: bytes) -> str:
    return str(json.loads(result)["status"])


@pytest.mark.parametrize("pool", POOLS)
def test_a_full_worker_renews_at_the_new_primary(
    pool: str, broker: Redis, replica: Redis, marks: Marks
) -> None:
    """
    A full worker, which fetches nothing, still renews its unacked messages.
    """
    places = CONCURRENCY[pool]
    with start("atomic", pool, broker, marks).ready():
        send(broker, range(places * 4), seconds=600)
        until(lambda: len(marks.starts()) == places, "a full worker")
        change_places(broker, replica)
        since = time.time()
        until(lambda: earliest(replica) > since, "signs of life")


def earliest(server: Redis) -> float:
    """Return the time of the oldest renewal, seconds."""
    times: Any = server.client.zrange("unacked_index", 0, 0, withscores=True)
    return float(times[0][1])
