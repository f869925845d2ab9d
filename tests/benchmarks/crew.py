"""A side at work: its workers, its sending process, its database and its ledger."""

import json
import os
import signal
import subprocess
import sys
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
        self._client: subprocess.Popen[str] | None = None
        folder.mkdir()
        self.ledger = Ledger.create(folder / "ledger")
        paths = [str(each) for each in (side.sources, PROJECT) if each]
        self._environ = {
            **os.environ,
            **environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "BENCH_LEDGER": str(folder / "ledger"),
            "BENCH_BROKER": broker.url,
            "BENCH_RESULTS": broker.url,
        }

    @property
    def log(self) -> Path:
        """What its processes have written."""
        return self.folder / "log"

    def start(self) -> None:
        """Start one worker more."""
        number = len(self._workers)
        folder = self.folder / f"worker{number}"
        folder.mkdir(exist_ok=True)
        place = Place(folder, self.broker.url, number)
        with self.log.open("ab") as log:
            worker = subprocess.Popen(
                [*self._prefix, *self.side.command(self.setup, place)],
                env=self._environ,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._workers.append(worker)

    def finish(self, count: int, seconds: float = 600) -> None:
        """Wait until the first *count* tasks have run."""
        end_of = "the tasks of " + self.side.name
        try:
            until(lambda: self._has_run(count), end_of, seconds, pause=0.005)
        except AssertionError as error:
            done = self.ledger.done(count)
            raise AssertionError(f"{error}: {done} of {count} ran; see {self.log}") from None

    def _has_run(self, count: int) -> bool:
        ended = [worker.returncode for worker in self._workers if worker.poll() is not None]
        assert not ended, f"a worker of {self.side.name} ended with {ended}; see {self.log}"
        return self.ledger.is_complete(count)

    def order(self, *order: Any) -> dict[str, float]:
        """Have the sending process do *order*; return what it took."""
        if self._client is None:
            self._client = self._start_client()
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        self._client.stdin.write(json.dumps(order) + "\n")
        self._client.stdin.flush()
        answer = self._client.stdout.readline()
        assert answer, f"the sending process of {self.side.name} ended; see {self.log}"
        return dict(json.loads(answer))

    def _start_client(self) -> subprocess.Popen[str]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [
                    *self._prefix,
                    *(sys.executable, "-m", "client", self.side.app or self.setup.project),
                ],
                env={**self._environ, **self.side.environ},
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

    def stop(self) -> None:
        """End all its processes, at once."""
        if self._client is not None:
            assert self._client.stdin is not None
            assert self._client.stdout is not None
            self._client.stdin.close()
            self._client.stdout.close()
            _kill(self._client)
            self._client = None
        for worker in self._workers:
            _kill(worker)
        self._workers.clear()


def _kill(process: subprocess.Popen[Any]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
