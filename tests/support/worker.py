"""Workers as child processes, whose notifications to systemd a test reads."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, get_args

import pytest

from task_server.config import model as config
from task_server.health.heartbeat import Heartbeat, read
from task_server.health.verdict import Verdict, check
from task_server.launch.timing import TIMING_VARIABLE, Timing
from tests.support import proc
from tests.support.marks import Marks
from tests.support.passwords import hear
from tests.support.redis import Redis
from tests.support.wait import PATIENCE, until

#: A module of it is a project of its own; `proj` is the one that most tests take.
PROJECT = Path(__file__).parent / "project"

#: Each drain is repeated so often; set it to 20 for a long run.
REPETITIONS = int(os.environ.get("DRAIN_REPETITIONS", "1"))

POOLS = ("prefork", "gevent")

#: For what the pool does not decide: .ci/run has it on both, a plain run on the first.
EITHER = (POOLS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in POOLS[1:]))

#: Both, the default one first: that of the tests that run with one only.
TRANSPORTS = tuple(
    sorted(
        get_args(config.Transport),
        key=os.environ.get("WORKER_TRANSPORT", config.WorkerConfig(name="w").transport).__ne__,
    )
)

#: With WORKER_FETCH=direct children fetch for themselves, where they can.
FETCH = {"fetch": os.environ["WORKER_FETCH"]} if "WORKER_FETCH" in os.environ else {}

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
    fewest = {"prefork": places * (1 if FETCH == {"fetch": "direct"} else 4), "gevent": places + 1}[
        pool
    ]
    until(
        lambda: broker.unacked() >= fewest if transport == "atomic" else broker.unacked() == fewest
    )


class Worker:
    """
    A worker of the project in `project/`, in a process group of its own.

    It is started as `task-server worker NAME`.

    Args:
        folder: Of its configuration, its logs, and its runtime files.

        broker: A `Broker`; a *command* needs none.

        name: What it is called.

        marks: Where its tasks leave their lines; unset, `tasks.log` in *folder*, which the
            other workers of the folder share.

        app, code, broker_url, visibility_timeout: As in task-server.toml, where None is
            left out; the URL is that of *broker* unless it is given.

        timing: Intervals and time-outs other than its own.

        environ: More variables.

        prefix: A command that becomes it, such as `ip netns exec`.

        under: A command whose child it is, such as `unshare`.

        command: What is started in place of `task-server worker`, without its configuration.

        settings: Of the worker; None leaves one out.
    """

    def __init__(
        self,
        folder: Path,
        broker: Any,
        pool: str,
        *,
        name: str = "w",
        marks: Marks | None = None,
        app: str = "proj",
        code: Path | str | None = PROJECT,
        broker_url: str | None = "",
        visibility_timeout: float | None = None,
        timing: Mapping[str, float] | None = None,
        environ: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        under: Sequence[str] = (),
        command: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.broker = broker
        self.name = name
        self.marks = Marks(folder) if marks is None else marks
        self.log = self.marks.path
        self.errors = folder / f"{name}-{time.monotonic_ns()}.log"
        self._is_ready = False
        self._under = under
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # The path of a socket may have 107 characters, which pytest's folders exceed.
        self._address = Path(tempfile.mkdtemp(prefix="notify-"), "socket")
        self._socket.bind(str(self._address))
        if not command:
            project = {
                "app": app,
                "code": code and str(code),
                "broker_url": broker.url if broker_url == "" else broker_url,
                "visibility_timeout": visibility_timeout,
                "runtime_dir": str(folder),
            }
            defaults = {"concurrency": 2, "prefetch_multiplier": 4, "drain_seconds": 20, **FETCH}
            file = self._configured(project, {"pool": pool, **defaults, **settings})
            command = (
                *(sys.executable, "-m", "task_server", "worker", name),
                *("--config", str(file)),
            )
        given = {TIMING_VARIABLE: json.dumps(timing)} if timing else {}
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*under, *prefix, *command],
                env={
                    **os.environ,
                    **given,
                    **(environ or {}),
                    "PROJ_LOG": str(self.log),
                    "NOTIFY_SOCKET": str(self._address),
                },
                stderr=errors,
                stdout=errors,
                start_new_session=True,
            )

    def _configured(self, project: Mapping[str, Any], settings: Mapping[str, Any]) -> Path:
        """Write the configuration; return its file."""
        lines = [
            *(_line(key, value) for key, value in project.items() if value is not None),
            f'[workers."{self.name}"]',
            *(_line(key, value) for key, value in settings.items() if value is not None),
        ]
        path = self.folder / ("task-server.toml" if self.name == "w" else f"{self.name}.toml")
        path.write_text("\n".join(lines))
        return path

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
                pytest.fail(f"{self.name} did not say {message}, only {heard}\n{self.output()}")
        return heard

    def ready(self, seconds: float = PATIENCE) -> Self:
        """Wait until it consumes; it is killed if it does not."""
        try:
            self.hear("READY=1", seconds)
        except BaseException:
            # Its context, which would kill it, is not entered yet.
            self.close()
            raise
        self._is_ready = True
        return self

    def is_ready(self) -> bool:
        """Whether `ready` has returned."""
        return self._is_ready

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

    def alive(self) -> bool:
        """Whether its main process lives."""
        return self.process.poll() is None

    def children(self) -> list[int]:
        """Return the pids of its pool."""
        return proc.children(self.pid)

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
            pytest.fail(f"{self.name} did not end within {seconds} s\n{self.output()}")

    def stop(self) -> int:
        """Stop it as an operator does; return its exit code."""
        self.process.terminate()
        code = self.wait()
        self.close()
        return code

    def kill_main(self) -> None:
        """Kill the main process alone."""
        self.process.kill()
        self.process.wait(30)

    def kill(self) -> None:
        """Kill it and its children at once, as a node that fails does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def close(self) -> None:
        """Kill it, and hear no more of it; it has logged no password."""
        self.kill()
        self._socket.close()
        shutil.rmtree(self._address.parent, ignore_errors=True)
        hear(self.output())

    def heartbeat(self) -> Heartbeat | None:
        """Return its heartbeat, None if there is none."""
        beat = read(self.folder, self.name)
        return None if isinstance(beat, str) else beat

    def verdict(self, **timing: float) -> Verdict:
        """Return the verdict of the health check on it, by the times of *timing*."""
        return check(self.folder, self.name, Timing(**timing))

    def starts(self) -> Counter[int]:
        """Return how often each task has started."""
        return self.marks.starts()

    def ends(self) -> Counter[int]:
        """Return how often each task has ended."""
        return self.marks.ends()

    def pids(self) -> set[int]:
        """Return the processes in which tasks have started."""
        return self.marks.pids()

    def output(self) -> str:
        """Return what it has logged."""
        return self.errors.read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _line(key: str, value: object) -> str:
    # Numbers, booleans, strings and lists of them look the same in TOML and JSON.
    return f"{key} = {json.dumps(value)}"
