"""A Redis of its own for tests that need more than a unix socket, and connections to it."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import kombu
import pytest
import redis

from task_server import transport
from task_server.errors import LocalServerError
from task_server.local import binaries


def until(fact: Callable[[], Any], what: str, seconds: float = 30) -> None:
    """Wait until *fact* holds, of something that sends no event."""
    end, pause = time.monotonic() + seconds, Event()
    while not fact():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        pause.wait(0.02)


def free_port() -> int:
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@dataclass(frozen=True)
class Started:
    """A server, and the folder it runs in."""

    folder: Path
    port: int

    @property
    def path(self) -> Path:
        return self.folder / "redis.sock"

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.path), **options)


@pytest.fixture(scope="session")
def start_redis(require) -> Iterator[Callable[..., Started]]:
    """Start a server with the given options, on a free port and a unix socket."""
    processes: list[subprocess.Popen[bytes]] = []
    folders = []

    def start(*options: str, port_option: str = "--port", folder: Path | None = None) -> Started:
        try:
            program = binaries.redis(os.environ).path
        except LocalServerError as error:
            require("redis", str(error))
        if folder is None:
            # Short, for the path of a unix socket.
            kept = tempfile.TemporaryDirectory(prefix="transport-")
            folders.append(kept)
            folder = Path(kept.name)
        started = Started(folder, free_port())
        command: Sequence[str] = (
            *(str(program), port_option, str(started.port), "--bind", "127.0.0.1", "--save", ""),
            *("--unixsocket", str(started.path), "--dir", str(folder), "--loglevel", "warning"),
        )
        processes.append(subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL))
        until(started.path.exists, "Redis to listen")
        return started

    yield start
    for process in processes:
        process.terminate()
        process.wait(30)
    for kept in folders:
        kept.cleanup()


@pytest.fixture(scope="session")
def shared_server(start_redis: Callable[..., Started]) -> Started:
    """Return a server for all tests that need nothing special."""
    return start_redis()


@pytest.fixture
def server(shared_server: Started) -> Started:
    """Return an empty server."""
    shared_server.client().flushall()
    return shared_server


@pytest.fixture(autouse=True)
def atomic() -> Iterator[None]:
    """Use the transport in this process."""
    assert transport.install()
    yield
    transport.uninstall()


@pytest.fixture
def connect(server: Started) -> Iterator[Callable[..., kombu.Connection]]:
    """Open connections to the server, and close them in the end."""
    opened: list[kombu.Connection] = []

    def connection(url: str = "", **options: Any) -> kombu.Connection:
        made = kombu.Connection(url or f"redis+socket://{server.path}", transport_options=options)
        opened.append(made)
        return made

    yield connection
    for made in opened:
        made.release()
