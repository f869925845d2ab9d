"""A Redis that can be stopped, killed and made to run short of something."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from task_server.local.servers import binaries
from tests.support.ports import own_port
from tests.support.wait import until

#: A client of a test waits so long for an answer, in seconds.
PATIENCE = 2.0


class Broker:
    """One database of a server."""

    def __init__(self, server: "Redis", number: int = 0) -> None:
        self.server = server
        self.number = number
        self.folder = server.folder
        self.url = f"redis://127.0.0.1:{server.port}/{number}"
        # By the socket of the file system, which a fault of the network does
        # not reach. It must not retry: a message would be sent
        # twice and counted as a second run.
        self.client = redis.Redis(
            unix_socket_path=str(server.path),
            db=number,
            socket_timeout=server.patience,
            retry=Retry(NoBackoff(), 0),
        )

    def waiting(self) -> int:
        """Return how many messages are queued, delayed or unacked."""
        return self.queued() + self.delayed() + self.unacked()

    def delayed(self) -> int:
        """Return how many tasks wait in Redis until they are due."""
        return sum(int(self.client.zcard(key)) for key in self.client.keys("unacked.delayed:*"))  # type: ignore[arg-type, union-attr]

    def unacked(self) -> int:
        """Return how many messages a worker has taken and not acknowledged."""
        return int(self.client.hlen("unacked"))  # type: ignore[arg-type]

    def queued(self) -> int:
        """Return how many messages no worker has taken."""
        return sum(int(self.client.llen(key)) for key in self.queues())  # type: ignore[arg-type]

    def queues(self) -> list[bytes]:
        """Return the lists of messages, one a priority."""
        return [b"celery", *self.client.keys("celery\x06\x16*")]  # type: ignore[misc]

    def is_empty(self) -> bool:
        """Whether no message is queued, delayed or unacked; False without an answer."""
        try:
            return self.waiting() == 0
        except redis.RedisError:
            return False


class Redis(Broker):
    """
    A server with an append-only file, and its first database.

    It listens on a port of loopback and on a socket of the file system.

    Args:
        prefix: A command that the server is started by, such as `ip netns exec`.

        settings: A file of settings, which *options* add to.

        data: Folder of its data; unset, *folder*.

        patience: Seconds that a client of the test waits for an answer; None is without end.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        prefix: Sequence[str] = (),
        settings: Path | None = None,
        data: Path | None = None,
        name: str = "redis",
        patience: float | None = PATIENCE,
    ) -> None:
        self.folder = folder
        self.patience = patience
        self.path = folder / f"{name}.sock"
        self.port = own_port()
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._options = options
        self._prefix = prefix
        self._settings = () if settings is None else (settings,)
        self._data = data or folder
        super().__init__(self)
        self.databases: list[Broker] = [self]

    def database(self, number: int) -> Broker:
        """Return the database *number*."""
        while len(self.databases) <= number:
            self.databases.append(Broker(self, len(self.databases)))
        return self.databases[number]

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        binary = binaries.redis(os.environ)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(*self._prefix, binary.path, *self._settings, "--port", str(self.port)),
                    *("--bind", "127.0.0.1", "--unixsocket", self.path, "--dir", self._data),
                    *("--appendonly", "yes", "--save", "", *self._options),
                ],
                stdout=log,
                stderr=log,
            )
        until(lambda: self._answers() or not self.is_running(), "Redis to answer")
        assert self.is_running(), self.log.read_text()[-2000:]
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except (redis.AuthenticationError, redis.ResponseError):
            # It wants a password.
            return True
        except redis.RedisError:
            return False

    def stop(self) -> None:
        """End as with SHUTDOWN."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send it the signal *number*."""
        assert self.process is not None
        self.process.send_signal(number)

    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        self.process.wait(30)
        for database in self.databases:
            pool: Any = database.client.connection_pool
            pool.disconnect()
