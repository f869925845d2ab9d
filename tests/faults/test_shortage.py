"""Redis without memory, and without room on its disk."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest
import redis

from tests.support.lab import Lane, Redis, lanes_of, until
from tests.support.lab.cell import ride
from tests.support.lab.load import Load
from tests.support.lab.table import Table

#: Seconds of shortage, and messages that wait at its begin.
SHORT, BACKLOG = 3.0, 200


def test_redis_without_memory(broker: Redis, table: Table) -> None:
    """
    Above `maxmemory` Redis takes neither messages nor results; with more memory all goes on.
    """

    def happen(lanes: Sequence[Lane], load: Load) -> None:
        load.send(BACKLOG)
        broker.client.config_set("maxmemory", "1")
        with pytest.raises(redis.ResponseError):
            broker.client.set("more", "memory")
        Event().wait(SHORT)
        broker.client.config_set("maxmemory", "0")

    with lanes_of(broker, RESULTS="yes") as lanes:
        ride("Redis maxmemory reached", lanes, happen, table, Load(lanes))


@pytest.fixture
def disk(require, folder: Path) -> Iterator[Path]:
    """Return the folder of a file system of 32 MiB."""
    path = folder / "disk"
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "faults", path],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        require("mount", f"root is needed to mount a small disk: {made.stderr}")
    yield path
    # At once for us; in fact when Redis, which is killed after this, lets go of it.
    subprocess.run(["umount", "--lazy", path], check=True)


def fill(path: Path) -> None:
    """Write to *path* until there is no room."""
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def refuses(broker: Redis) -> bool:
    try:
        broker.client.set("more", "room")
    except redis.RedisError:
        return True
    return False


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_redis_without_room_on_its_disk(
    fsync: str, disk: Path, redis_server: Callable[..., Redis], table: Table
) -> None:
    """
    The append-only file cannot be written; when there is room again all goes on.

    With `everysec` Redis refuses to write; with `always` it ends, and is
    started again.
    """
    server = redis_server("--appendfsync", fsync, data=disk)

    def happen(lanes: Sequence[Lane], load: Load) -> None:
        fill(disk / "filler")
        until(lambda: refuses(server), "Redis to notice")
        Event().wait(SHORT)
        assert server.is_running() == (fsync == "everysec")
        (disk / "filler").unlink()
        if not server.is_running():
            server.start()

    with lanes_of(server) as lanes:
        ride(f"disk full, fsync {fsync}", lanes, happen, table, Load(lanes))
