"""Workers as child processes, whose notifications to systemd a test reads."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest

from task_server.config import model as config
from task_server.health.heartbeat import Heartbeat, read
from task_server.health.verdict import Thresholds, Verdict, check
from task_server.launch.timing import TIMING_VARIABLE
from tests.support import proc
from tests.support.redis import Redis
from tests.support.wait import PATIENCE, until

#: A module of it is a project of its own; `proj` is the one that most tests take.
PROJECT = Path(__file__).parent / "project"

#: Each drain is repeated so often; set it to 20 for a long run.
REPETITIONS = int(os.environ.get("DRAIN_REPETITIONS", "1"))

POOLS = ("prefork", "gevent")

#: Both, the default one first: that of the tests that run with one only.
TRANSPORTS = tuple(
    sorted(
        get_args(config.Transport),
        key=os.environ.get("WORKER_TRANSPORT", config.WorkerConfig(name="w").transport).__ne__,
    )
)

#: Runs a test with both, Kombu's own every night: what is lost or left in Redis is decided there.
BOTH = pytest.mark.parametrize(
    "transport",
    [TRANSPORTS[0], *(pytest.param(one, marks=pytest.mark.nightly) for one in TRANSPORTS[1:])],
    indirect=True,
)


def at_rest(pool: str, transport: str, broker: Redis, places: int = 2) -> None:
    """
    Wait until a worker of *places* has reserved what it will of many messages.

    Kombu's transport takes a message from the queue in one step and registers it
    in a second: a Redis that fails in between loses it. A full worker takes none.
    """
    # Under gevent it waits with one more for a free place; with the atomic
    # transport it has fetched more, which depends on when they were sent.
    fewest = {"prefork": places * 4, "gevent": places + 1}[pool]
    until(
        lambda: broker.unacked() >= fewest if transport == "atomic" else broker.unacked() == fewest
    )


class Worker:
    """
    A worker of the project in `project/`, started as `task-server worker w`.

    Args:
        settings: Settings of the worker, and `environ`, `under` (a command that it is
            started by), `timing` (intervals and time-outs other than its own), `app`,
            `code` and `broker_url`.
    """

    def __init__(self, folder: Path, broker: Redis, pool: str, **settings: Any) -> None:
        self.folder = folder
        self.broker = broker
        self.log = folder / "tasks.log"
        self.log.touch()
        self.errors = folder / f"worker-{time.monotonic_ns()}.log"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = folder / f"notify-{time.monotonic_ns()}"
        self._socket.bind(str(address))
        environ = dict(os.environ)
        environ.update(settings.pop("environ", {}))
        if timing := settings.pop("timing", None):
            environ[TIMING_VARIABLE] = json.dumps(timing)
        #: Such as `unshare`; the worker is its child then.
        self._under = tuple(settings.pop("under", ()))
        settings = {"concurrency": 2, "prefetch_multiplier": 4, "drain_seconds": 20} | settings
        lines = [
            f'app = "{settings.pop("app", "proj")}"',
            f'code = "{settings.pop("code", PROJECT)}"',
            *([f'broker_url = "{url}"'] if (url := settings.pop("broker_url", broker.url)) else []),
            f'runtime_dir = "{folder}"',
            "[workers.w]",
            f'pool = "{pool}"',
            *(f"{key} = {value!r}" for key, value in settings.items()),
        ]
        config = folder / "task-server.toml"
        config.write_text("\n".join(lines))
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [
                    *self._under,
                    *(sys.executable, "-m", "task_server", "worker", "w", "--config", str(config)),
                ],
                env={**environ, "PROJ_LOG": str(self.log), "NOTIFY_SOCKET": str(address)},
                stderr=errors,
                stdout=errors,
                start_new_session=True,
            )

    def hear(self, message: str, seconds: float = PATIENCE) -> list[str]:
        """Wait until it says a line that begins with *message*; return all it said until then."""
        deadline = time.monotonic() + seconds
        heard: list[str] = []
        while not any(line.startswith(message) for line in heard):
            self._socket.settimeout(0.5)
            try:
                heard.append(self._socket.recv(4096).decode())
            except TimeoutError:
                if self.process.poll() is None and time.monotonic() < deadline:
                    continue
                pytest.fail(f"did not say {message}, only {heard}\n{self.output()}")
        return heard

    def is_silent(self, message: str, seconds: float) -> bool:
        """Whether it does not say *message* for *seconds*, apart from what it said before."""
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(4096)
        except BlockingIOError:
            pass
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                if self._socket.recv(4096).decode().startswith(message):
                    return False
            except TimeoutError:
                return True
        return True

    @property
    def pid(self) -> int:
        """The main process, as it is seen from here."""
        if not self._under:
            return self.process.pid
        return until(lambda: proc.children(self.process.pid))[0]

    def send(self, number: int) -> None:
        """Send *number* to the main process alone."""
        if self._under:
            os.kill(self.pid, number)
        else:
            self.process.send_signal(number)

    def send_group(self, number: int) -> None:
        """Send *number* to the main process and all its children, as a terminal does."""
        os.killpg(self.process.pid, number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait until it has ended; return its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"did not end within {seconds} s\n{self.output()}")

    def heartbeat(self) -> Heartbeat | None:
        """Return its heartbeat, None if there is none."""
        beat = read(self.folder, "w")
        return None if isinstance(beat, str) else beat

    def verdict(self, **thresholds: float) -> Verdict:
        """Return the verdict of the health check on it."""
        return check(self.folder, "w", Thresholds(**thresholds))

    def starts(self) -> Counter[int]:
        """Return how often each task has started."""
        return self._lines("start")

    def ends(self) -> Counter[int]:
        """Return how often each task has ended."""
        return self._lines("done")

    def pids(self) -> set[int]:
        """Return the processes in which tasks have started."""
        words = [line.split() for line in self.log.read_text().splitlines()]
        return {int(word[2]) for word in words if word[0] == "start"}

    def output(self) -> str:
        """Return what it has logged."""
        return self.errors.read_text()

    def close(self) -> None:
        """End it and its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._socket.close()

    def _lines(self, word: str) -> Counter[int]:
        words = [line.split() for line in self.log.read_text().splitlines()]
        return Counter(int(found[1]) for found in words if found[0] == word)
