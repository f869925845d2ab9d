"""What a fault needs: a Redis that can be killed, workers in groups, marks, messages."""

import base64
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import redis

from task_server.local import binaries

PROJECT = Path(__file__).with_name("project")
SOURCES = Path(__file__).parents[2] / "src"

#: Celery's arguments for each pool.
POOLS = {"prefork": ("--pool=prefork", "-c2"), "gevent": ("--pool=gevent", "-c50")}


def until(fact: Callable[[], Any], what: str, seconds: float = 60) -> None:
    """Wait until *fact* holds, of something that sends no event."""
    end, pause = time.monotonic() + seconds, Event()
    while not fact():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        pause.wait(0.05)


class Redis:
    """A server on a unix socket, with its append-only file, that outlives being killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "redis.sock"
        self.url = f"redis+socket://{self.path}"
        self.client = redis.Redis(unix_socket_path=str(self.path))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        binary = binaries.redis(os.environ)
        self.process = subprocess.Popen(
            [
                *(binary.path, "--port", "0", "--unixsocket", self.path, "--dir", self.folder),
                *("--appendonly", "yes", "--save", "", "--loglevel", "warning"),
            ],
            stdout=subprocess.DEVNULL,
        )
        until(self._answers, "Redis to answer")
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def stop(self) -> None:
        """End as with SHUTDOWN."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)
        self.client.connection_pool.disconnect()

    def waiting(self) -> int:
        """Return how many messages are queued or unacked."""
        queued = sum(int(self.client.llen(key)) for key in self.client.keys("celery*"))  # type: ignore[arg-type, union-attr]
        return queued + int(self.client.hlen("unacked"))  # type: ignore[arg-type]


class Marks:
    """The file of the runs."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "marks"
        self.path.touch()

    def runs(self) -> Counter[int]:
        return Counter(map(int, self.path.read_text().split()))


class Worker:
    """A Celery worker in a process group of its own."""

    def __init__(
        self,
        transport: str,
        pool: str,
        broker: Redis,
        marks: Marks,
        *,
        visibility: float = 2,
        arguments: Sequence[str] = (),
        **environ: str,
    ) -> None:
        self.name = f"{transport} {pool}"
        reading, writing = os.pipe()
        self.log = broker.folder / f"{transport}-{pool}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "marks", "worker"),
                    *(arguments or POOLS[pool]),
                    *("--without-gossip", "--without-mingle", "--loglevel=warning"),
                    f"--hostname={transport}-{pool}{environ.get('NUMBER', '')}@%h",
                ],
                env={
                    **os.environ,
                    **environ,
                    "PYTHONPATH": os.pathsep.join([str(SOURCES), str(PROJECT)]),
                    "TRANSPORT": transport,
                    "BROKER": broker.url,
                    "MARKS": str(marks.path),
                    "READY": str(writing),
                    "VISIBILITY_TIMEOUT": str(visibility),
                },
                cwd=broker.folder,
                pass_fds=[writing],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(writing)
        self._ready = reading

    def ready(self, seconds: float = 60) -> Self:
        assert select.select([self._ready], [], [], seconds)[0], f"{self.name} is not ready"
        said = os.read(self._ready, 16)
        assert said == b"ready\n", f"{self.name} ended at its start:\n{self.log.read_text()}"
        return self

    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """Kill the whole group at once, as a node that fails does."""
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> int:
        """Stop it as an operator does; return its exit code."""
        self.process.terminate()
        code = self.process.wait(30)
        self.kill()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


def message(number: int, seconds: float = 0.0, priority: int = 0, eta: float = 0.0) -> bytes:
    """Return a message as Celery and Kombu write it; *eta* is a time, in seconds, or 0."""
    name = str(uuid4())
    nothing = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = json.dumps([[number, seconds], {}, nothing]).encode()
    headers: dict[str, Any] = {
        "lang": "py",
        "task": "marks.mark",
        "id": name,
        "root_id": name,
        "retries": 0,
    }
    if eta:
        headers["eta"] = datetime.fromtimestamp(eta, UTC).isoformat()
    properties = {
        "correlation_id": name,
        "delivery_info": {"exchange": "", "routing_key": "celery"},
        "delivery_mode": 2,
        "delivery_tag": str(uuid4()),
        "priority": priority,
        "body_encoding": "base64",
    }
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties,
        }
    ).encode()


def send(
    broker: Redis,
    numbers: Iterable[int],
    seconds: float = 0.0,
    priority: int = 0,
    eta: float = 0.0,
) -> int:
    """Queue a message for each number; return how many it was."""
    texts = [message(number, seconds, priority, eta) for number in numbers]
    if texts:
        broker.client.lpush(f"celery\x06\x16{priority}" if priority else "celery", *texts)
    return len(texts)


def drain(broker: Redis, marks: Marks, seconds: float = 60) -> None:
    """Let a worker of the atomic transport run what is left, restored messages included."""
    with Worker("atomic", "gevent", broker, marks, visibility=2):
        until(lambda: broker.waiting() == 0, "the queue to be empty", seconds)
