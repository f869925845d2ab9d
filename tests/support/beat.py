"""Beat as a child process, and a project with a schedule."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.passwords import hear
from tests.support.wait import PATIENCE, until

#: Of a project, before its schedule; its task is never run here.
HEAD = """
import os
from celery import Celery
from celery.schedules import crontab

app = Celery("periodic")
app.conf.broker_url = os.environ["PERIODIC_BROKER"]


@app.task(name="periodic.tick")
def tick():
    pass


"""

#: Of most tests: short, and soon taken over.
TICK = 'app.conf.beat_schedule = {"tick": {"task": "periodic.tick", "schedule": 1.0}}'


def project(folder: Path, schedule: str = TICK, name: str = "periodic") -> Path:
    """Write the project *name* with *schedule* into *folder*; return the folder."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(HEAD + textwrap.dedent(schedule))
    return folder


class Beat:
    """
    A `task-server beat` of the project in *code*, with a folder of its own for each *name*.

    Args:
        broker: URL of the broker.

        lock_seconds: Of its configuration, as are *settings*.
    """

    def __init__(
        self,
        code: Path,
        broker: str,
        name: str = "one",
        *,
        app: str = "periodic",
        lock_seconds: float = 2,
        environ: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = code.parent / name
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.log = self.folder / "beat.log"
        self._seen = self.log.stat().st_size if self.log.exists() else 0
        self.environ = {
            **os.environ,
            "PERIODIC_BROKER": broker,
            "TASK_SERVER_APP": app,
            "TASK_SERVER_CODE": str(code),
            "TASK_SERVER_RUNTIME_DIR": str(self.folder),
            "TASK_SERVER_BEAT_LOCK_SECONDS": str(lock_seconds),
            **{
                f"TASK_SERVER_BEAT_{key.upper()}": str(one) for key, one in (settings or {}).items()
            },
            **(environ or {}),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "task_server", "beat"],
                env=self.environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def output(self) -> str:
        """Return what this process has said so far."""
        with self.log.open("rb") as file:
            file.seek(self._seen)
            return file.read().decode()

    def says(self, pattern: str, count: int = 1) -> list[str]:
        """Wait until *count* lines match *pattern*; return the lines."""

        def lines() -> list[str]:
            return [line for line in self.output().splitlines() if re.search(pattern, line)]

        def told() -> bool:
            return len(lines()) >= count or self.process.poll() is not None

        until(told, f"{pattern}\n{self.output()}")
        if len(lines()) < count:
            pytest.fail(f"beat ended without {pattern!r}\n{self.output()}")
        return lines()

    def sends(self) -> Self:
        """Wait until it has the lock and its schedule."""
        self.says("beat: sends now")
        return self

    def health(self, *options: str) -> tuple[int, str]:
        """Return the exit code and the line of its health check."""
        done = subprocess.run(
            [sys.executable, "-m", "task_server", "health", "beat", *options],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout.strip() + done.stderr.strip()

    def send(self, number: int) -> None:
        """Send the signal *number*."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"beat did not end\n{self.output()}")

    def stop(self) -> int:
        """Stop it as an operator does; return its exit code."""
        self.send(signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()
        hear(self.output())


def entries_sent(client: Any, queue: str = "celery") -> int:
    """Return how many messages of periodic tasks wait in *queue*."""
    return sum(
        "celery_beat_task" in json.loads(text)["headers"] for text in client.lrange(queue, 0, -1)
    )
