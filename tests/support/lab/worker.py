"""A worker in a process group of its own, started as an operator starts it."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import proc
from tests.support.marks import Marks
from tests.support.redis import Broker
from tests.support.wait import until
from tests.support.worker import PROJECT

SOURCES = Path(__file__).parents[3] / "src"

#: Celery's arguments for each pool.
POOLS = {"prefork": ("--pool=prefork", "-c2"), "gevent": ("--pool=gevent", "-c50")}

#: The same as settings of ours.
CONCURRENCY = {"prefork": 2, "gevent": 50}

#: What the command lines of an old task server had besides.
OLD = ("--events", "--loglevel=info")


class Worker:
    """
    A worker of the app `marks`: `task-server worker w`, or a command line of Celery's.

    Args:
        transport: Ours ("atomic") or Kombu's ("kombu").

        visibility: The visibility time-out in seconds; None is Celery's own.

        acks: "late" or "early"; a command line of Celery's takes "early" as
            its default, without a word about it.

        arguments: Start `celery worker` with these instead of `task-server worker`.

        prefix: A command that it is started by, such as `ip netns exec`.

        concurrency: Of `task-server worker`; unset, that of its pool.

        environ: More variables.
    """

    def __init__(
        self,
        transport: str,
        pool: str,
        broker: Broker,
        marks: Marks,
        *,
        visibility: float | None = 2,
        acks: str = "late",
        arguments: Sequence[str] = (),
        prefix: Sequence[str] = (),
        app: str = "marks",
        concurrency: int | None = None,
        **environ: str,
    ) -> None:
        self.name = f"{transport}-{pool}-{acks}{environ.get('NUMBER', '')}-{broker.number}"
        self.broker = broker
        self.log = broker.folder / f"{self.name}.log"
        reading, writing = os.pipe()
        added = {
            "PYTHONPATH": os.pathsep.join([str(SOURCES), str(PROJECT)]),
            "TRANSPORT": transport,
            "BROKER": broker.url,
            "MARKS": str(marks.path),
            "READY": str(writing),
            **environ,
        }
        if arguments:
            command = self._celery(app, arguments)
            added["BARE"] = acks
            if visibility is not None:
                added["VISIBILITY_TIMEOUT"] = str(visibility)
        else:
            settings = {
                "pool": pool,
                "transport": transport,
                "delivery": "at-least-once" if acks == "late" else "at-most-once",
                "queues": ["celery"],
                "concurrency": concurrency or CONCURRENCY[pool],
                "prefetch_multiplier": 4,
                "log_level": "warning",
            }
            command = self._task_server(app, settings, visibility or 3600)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *command],
                env={**os.environ, **added},
                cwd=broker.folder,
                pass_fds=[writing],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(writing)
        self._ready = reading
        self._consumes = False

    def _celery(self, app: str, arguments: Sequence[str]) -> list[str]:
        return [
            *(sys.executable, "-m", "celery", "-A", app, "worker", *arguments),
            *("--without-gossip", "--without-mingle", f"--hostname={self.name}@%h"),
        ]

    def _task_server(
        self, app: str, settings: Mapping[str, object], visibility: float
    ) -> list[str]:
        """Write the worker's configuration, and return its command."""
        path = self.broker.folder / f"{self.name}.toml"
        lines = [
            f'app = "{app}"',
            f'broker_url = "{self.broker.url}"',
            f'runtime_dir = "{self.broker.folder}"',
            f"visibility_timeout = {visibility}",
            f'[workers."{self.name}"]',
            *(f"{key} = {json.dumps(value)}" for key, value in settings.items()),
        ]
        path.write_text("\n".join(lines))
        return [sys.executable, "-m", "task_server", "worker", self.name, "--config", str(path)]

    def ready(self, seconds: float = 90) -> Self:
        """Wait until it consumes; it is killed if it does not."""
        try:
            assert select.select([self._ready], [], [], seconds)[0], f"{self.name} is not ready"
            said = os.read(self._ready, 16)
            assert said == b"ready\n", f"{self.name} ended at its start:\n{self.log.read_text()}"
        except BaseException:
            # Its context, which would kill it, is not entered yet.
            self.kill()
            raise
        self._consumes = True
        return self

    def is_ready(self) -> bool:
        """Whether `ready` has returned."""
        return self._consumes

    def alive(self) -> bool:
        """Whether its main process lives."""
        return self.process.poll() is None

    def children(self) -> list[int]:
        """Return the pids of its pool."""
        return proc.children(self.process.pid)

    def kill_main(self) -> None:
        """Kill the main process alone."""
        self.process.kill()
        self.process.wait(30)

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
        code = self.process.wait(60)
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


def drain(broker: Broker, marks: Marks, seconds: float = 60) -> None:
    """Let a worker of the atomic transport run what is left, restored messages included."""
    with Worker("atomic", "gevent", broker, marks, visibility=2, NUMBER="drain"):
        until(broker.is_empty, "the queue to be empty", seconds)
