"""`task-server metrics` as a child process, and what is asked of it."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.passwords import hear
from tests.support.wait import PATIENCE, until
from tests.support.worker import PROJECT

#: It asks nothing of the environment's proxies.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Metrics:
    """
    A `task-server metrics` of the project `proj`, or of *app*, on a free port.

    Args:
        folder: Of its log, and of a configuration with *settings*, lines of TOML.

        broker: URL of the broker; None leaves it to the project.
    """

    def __init__(
        self,
        folder: Path,
        broker: str | None,
        *arguments: str,
        settings: str = "",
        app: str = "proj",
        code: Path = PROJECT,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.log = folder / "metrics.log"
        self._seen = self.log.stat().st_size if self.log.exists() else 0
        config = folder / "metrics.toml"
        url = f'broker_url = "{broker}"\n' if broker else ""
        config.write_text(f'app = "{app}"\ncode = "{code}"\n{url}{settings}\n')
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "task_server", "metrics", "--config", str(config)),
                    *(arguments or ("--port", "0")),
                ],
                env={**os.environ, "PROJ_LOG": os.devnull, **(environ or {})},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def output(self) -> str:
        """Return what this process has said so far."""
        with self.log.open("rb") as file:
            file.seek(self._seen)
            return file.read().decode()

    def ready(self) -> Self:
        """Wait until it listens."""
        until(lambda: self._address() or self.process.poll() is not None, self.output())
        if self._address() is None:
            pytest.fail(f"it has ended:\n{self.output()}")
        return self

    def _address(self) -> str | None:
        found = re.search(r"^metrics: (http://.*)/metrics$", self.output(), re.MULTILINE)
        return found and found[1]

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        found = self._address()
        assert found is not None
        return found

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of the answer to GET *path*."""
        try:
            with OPENER.open(f"{self.url}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def scrape(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Return the value of each metric, by name and values of its labels in their order."""
        status, body = self.get("/metrics")
        assert 200 == status
        hear(body)
        return {
            (one.name, tuple(value for _, value in sorted(one.labels.items()))): one.value
            for family in text_string_to_metric_families(body.decode())
            for one in family.samples
        }

    def json(self, path: str) -> dict[str, Any]:
        """Return the object that GET *path* answers with."""
        loaded: dict[str, Any] = json.loads(self.get(path)[1])
        return loaded

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it as an operator does; return its exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it did not end\n{self.output()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        hear(self.output())
