"""A side at work: its workers, its sending process, its database and its ledger."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.benchmarks import usage
from tests.benchmarks.project.ledger import Ledger
from tests.benchmarks.sides import Place, Setup, Side
from tests.benchmarks.sides.celery import PROJECT
from tests.support.redis import Broker
from tests.support.wait import until


class Crew:
    """
    One side with a database of Redis of its own.

    Args:
        broker: Its database, of messages and results.

        environ: What the servers of the setup want their clients to know.

        prefix: A command that all processes are started by.
    """

    def __init__(
        self,
        side: Side,
        setup: Setup,
        broker: Broker,
        folder: Path,
        environ: Mapping[str, str],
        *,
        prefix: Sequence[str] = (),
    ) -> None:
        self.side, self.setup, self.broker, self.folder = side, setup, broker, folder
        self._prefix = prefix
        self._workers: list[subprocess.Popen[bytes]] = []
        self._clients: dict[str, subprocess.Popen[str]] = {}
        folder.mkdir()
        self.ledger = Ledger.create(folder / "ledger")
        paths = [str(each) for each in (side.sources, PROJECT) if each]
        (folder / "ready").mkdir()
        self._environ = {
            **_clean(os.environ),
            **environ,
            **side.environ,
            # Celery refuses pickled messages to root without it.
            "C_FORCE_ROOT": "yes",
            "PYTHONPATH": os.pathsep.join(paths),
            "BENCH_LEDGER": str(folder / "ledger"),
            "BENCH_READY": str(folder / "ready"),
            "BENCH_BROKER": broker.url,
            "BENCH_RESULTS": broker.url,
        }
        if setup.project == "docket":
            (folder / "media").mkdir()
            self._environ |= {"REDIS_URL": broker.url, "DJANGO_MEDIA_ROOT": str(folder / "media")}

    @property
    def log(self) -> Path:
        """What its processes have written."""
        return self.folder / "log"

    def start(self) -> None:
        """Start one worker more, and the one beside it."""
        for setup in filter(None, (self.setup, self.setup.beside)):
            number = len(self._workers)
            folder = self.folder / f"worker{number}"
            folder.mkdir(exist_ok=True)
            place = Place(folder, self.broker.url, number)
            self._workers.append(self._run(self.side.command(setup, place), folder))

    def _run(self, command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self._prefix, *command],
                env=self._environ,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ready(self) -> None:
        """Wait until all its workers consume; those that do not say it have run nothing yet."""
        if not self.side.app and self.setup.project != "docket":
            until(self._all_consume, f"the workers of {self.side.name}", 300)

    def _all_consume(self) -> bool:
        self._check()
        return len(list((self.folder / "ready").iterdir())) >= len(self._workers)

    def finish(self, count: int, seconds: float = 300) -> None:
        """Wait until the first *count* tasks have run."""
        end_of = "the tasks of " + self.side.name
        try:
            until(lambda: self._has_run(count), end_of, seconds, pause=0.005)
        except AssertionError as error:
            done = self.ledger.done(count)
            raise AssertionError(f"{error}: {done} of {count} ran; see {self.log}") from None

    def _has_run(self, count: int) -> bool:
        self._check()
        return self.ledger.is_complete(count)

    def _check(self) -> None:
        ended = [worker.returncode for worker in self._workers if worker.poll() is not None]
        assert not ended, f"a worker of {self.side.name} ended with {ended}; see {self.log}"

    def run(self, *command: str, ends_with: int = 0) -> float:
        """Run *command* to its end, with that exit code, as a client would; return the seconds."""
        start = time.monotonic()
        code = self._run(command, self.folder).wait(600)
        assert code == ends_with, f"{command} of {self.side.name} ended with {code}; see {self.log}"
        return time.monotonic() - start

    def order(self, *order: Any) -> dict[str, float]:
        """Have the sending process do *order*; return what it took."""
        if self.broker.url not in self._clients:
            self._clients[self.broker.url] = self._start_client(self.broker.url)
        return self._ask(self.broker.url, order)

    def stage(self, stage: Broker, *order: Any) -> None:
        """Have a process that sends into another database do *order*."""
        if stage.url not in self._clients:
            self._clients[stage.url] = self._start_client(stage.url)
        self._ask(stage.url, order)

    def _ask(self, url: str, order: Sequence[Any]) -> dict[str, float]:
        client = self._clients[url]
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(json.dumps(order) + "\n")
        client.stdin.flush()
        answer = client.stdout.readline()
        assert answer, f"the sending process of {self.side.name} ended; see {self.log}"
        return dict(json.loads(answer))

    def _start_client(self, url: str) -> subprocess.Popen[str]:
        module = self.side.app or self.setup.project
        producer = {"BENCH_PRODUCER": "yes"} if self.side.producer else {}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "client", module],
                env={**self._environ, **producer, "BENCH_BROKER": url},
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def cpu(self) -> float:
        """Return the seconds of processor time of its workers."""
        return sum(usage.cpu(worker.pid) for worker in self._workers)

    def pss(self) -> int:
        """Return the bytes of its workers."""
        return sum(usage.pss(worker.pid) for worker in self._workers)

    def end_workers(self) -> float:
        """Have its workers drain; return the seconds that it took."""
        begun = time.monotonic()
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.wait(300)
        seconds = time.monotonic() - begun
        self.stop_workers()
        return seconds

    def stop_workers(self) -> None:
        """End its workers, at once."""
        for worker in self._workers:
            _kill(worker)
        self._workers.clear()
        for path in (self.folder / "ready").iterdir():
            path.unlink()

    def stop(self) -> None:
        """End all its processes, at once."""
        for client in self._clients.values():
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.close()
            client.stdout.close()
            _kill(client)
        self._clients.clear()
        self.stop_workers()


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without what would set something for one side only."""
    prefixes = ("TASK_SERVER_", "CELERY_", "DJANGO_", "PG", "SENTRY_")
    dropped = {"REDIS_URL", "REDIS_CLIENT_URL", "DATABASE_URL"}
    return {
        name: value
        for name, value in environ.items()
        if name not in dropped and not name.startswith(prefixes)
    }


def _kill(process: subprocess.Popen[Any]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
