"""A primary, its replica and a Sentinel, which fails over."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import redis

from task_server.errors import LocalServerError
from tests.support.redis import Redis
from tests.support.require import Require
from tests.support.wait import until

#: Of what the Sentinel watches.
NAME = "main"


@dataclass
class Cluster:
    """A primary, its replica, and the Sentinel that watches them."""

    primary: Redis
    replica: Redis
    watch: Redis

    @property
    def url(self) -> str:
        """The URL of the broker."""
        return f"sentinel://127.0.0.1:{self.watch.port}/0"

    def sentinel(self, *words: str) -> Any:
        """Ask the Sentinel, or give it an order."""
        with redis.Redis(port=self.watch.port, socket_timeout=30) as client:
            return client.execute_command("SENTINEL", *words, NAME)

    def names(self) -> int:
        """Return the port of the primary that the Sentinel names."""
        return int(self.sentinel("GET-MASTER-ADDR-BY-NAME")[1])

    def has_switched(self) -> bool:
        """Whether clients, who ask in another way, find the replica, and it takes writes."""
        try:
            role: Any = self.replica.client.info("replication")
        except redis.ConnectionError:
            # Sentinel ends all connections of whom it promotes.
            return False
        with redis.Redis(port=self.watch.port, socket_timeout=30) as client:
            named: Any = client.sentinel_master(NAME)
        return named["port"] == self.replica.port and role["role"] == "master"


@pytest.fixture
def cluster(require: Require) -> Iterator[Cluster]:
    """Have a Sentinel that knows a primary and its replica."""
    # A path that is short enough for a socket.
    with TemporaryDirectory(prefix="ts") as name:
        yield from _cluster(Path(name), require)


def _cluster(above: Path, require: Require) -> Iterator[Cluster]:
    folders = [above / name for name in ("primary", "replica", "sentinel")]
    for folder in folders:
        folder.mkdir()
    primary = Redis(folders[0])
    replica = Redis(folders[1], "--replicaof", "127.0.0.1", str(primary.port))
    settings = folders[2] / "sentinel.conf"
    settings.write_text(
        f"sentinel monitor {NAME} 127.0.0.1 {primary.port} 1\n"
        f"sentinel down-after-milliseconds {NAME} 1000\n"
        f"sentinel failover-timeout {NAME} 10000\n"
    )
    watch = Redis(folders[2], "--sentinel", settings=settings)
    try:
        primary.start()
        replica.start()
        until(lambda: _link(replica) == "up", "the replica")
        watch.start()
        one = Cluster(primary, replica, watch)
        until(lambda: str(replica.port) in str(one.sentinel("REPLICAS")), "Sentinel to know it")
        yield one
    except LocalServerError as error:
        require("redis", str(error))
    finally:
        for server in (watch, replica, primary):
            if server.is_running():
                server.signal(signal.SIGCONT)
            server.kill()


def _link(replica: Redis) -> Any:
    found: Any = replica.client.info("replication")
    return found["master_link_status"]
