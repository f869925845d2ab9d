"""The ways to a broker: Sentinel, virtual hosts, a prefix; and how much is asked of it."""

from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from task_server.cli.broker import broker_of
from task_server.errors import PeerError
from task_server.monitor import Snapshot, snapshot
from task_server.transport.store import workers
from task_server.transport.store.keys import Keys
from task_server.transport.store.statistics import Batch
from tests.integration.transport.peers import Started
from tests.support.wait import until

ONE = Batch(1, {("t", "q"): {"succeeded": 1}})


def look(url: str, **options: Any) -> Snapshot:
    """Return what a command sees that connects as the workers of a project with *url* do."""
    app = Celery("project", broker=url)
    app.conf.broker_transport_options = options
    with broker_of(app, 5.0) as (client, keys):
        workers.register(client, keys, "r", {"node": "w@h", "queues": ["q"]}, batch=ONE)
        return snapshot(client, keys, ["q"])


def test_sentinel(start_redis: Any, tmp_path: Path) -> None:
    """
    The server that Sentinel names is looked at.
    """
    own: Started = start_redis()
    settings = tmp_path / "sentinel.conf"
    settings.write_text(f"sentinel monitor main 127.0.0.1 {own.port} 1\n")
    watch: Started = start_redis("--sentinel", settings=settings)
    with redis.Redis(port=watch.port) as sentinel:
        get = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")
        until(lambda: sentinel.execute_command(*get), "it")
    own.client().rpush("q", "1", "2")
    found = look(f"sentinel://127.0.0.1:{watch.port}/0", master_name="main")

    assert [("q", 2)] == [(queue.name, queue.length) for queue in found.queues]
    assert ["w@h"] == [worker.node for worker in found.workers]
    assert [1] == [one.total.succeeded for one in found.tasks]


def test_virtual_hosts_and_prefixes_are_apart(server: Started) -> None:
    """
    Each is a broker of its own, with its queues, workers and statistics.
    """
    with server.client() as client:
        client.flushall()
        client.rpush("q", "1")
    with server.client(db=1) as client:
        client.rpush("q", "1", "2")
        client.rpush("p.q", "1", "2", "3")
    url = f"redis://127.0.0.1:{server.port}"
    places = [look(f"{url}/0"), look(f"{url}/1"), look(f"{url}/1", global_keyprefix="p.")]

    assert [1, 2, 3] == [queue.length for found in places for queue in found.queues]
    assert [1, 1, 1] == [one.total.succeeded for found in places for one in found.tasks]
    assert [1, 1, 1] == [len(found.workers) for found in places]


def test_a_server_that_is_not_there_is_named(start_redis: Any) -> None:
    """
    By Sentinel or itself: no time is spent on trying again.
    """
    own: Started = start_redis()
    own.server.stop()

    with pytest.raises(PeerError, match="connection refused"):
        look(f"redis://127.0.0.1:{own.port}/0")
    with pytest.raises(PeerError):
        look(f"sentinel://127.0.0.1:{own.port}/0", master_name="main")


def calls(client: redis.Redis) -> dict[str, int]:
    """Return what the server was asked since, by command."""
    stats = client.info("commandstats")
    return {name: one["calls"] for name, one in stats.items() if "config" not in name}


def test_a_million_messages_are_not_looked_at(server: Started) -> None:
    """
    No more is asked for with them than with a few: each call takes as long.
    """
    with server.client() as client:
        client.flushall()
        for queue in ("q", "other"):
            client.rpush(queue, *("x" * 200 for _ in range(10)))
        snapshot(client, Keys(), ["q", "other"])
        client.config_resetstat()
        snapshot(client, Keys(), ["q", "other"])
        with_few = calls(client)
        for _ in range(100):
            client.lpush("q", *("x" * 20 for _ in range(10_000)))
        client.config_resetstat()
        found = snapshot(client, Keys(), ["q", "other"])
        with_many = calls(client)
        client.flushall()

    assert 1_000_010 == sum(queue.length for queue in found.queues if queue.name == "q")
    assert with_few == with_many
