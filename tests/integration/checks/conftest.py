"""Servers with something wrong, and the program that has to find it."""

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from task_server import local
from task_server.errors import LocalServerError


class StartRedis(Protocol):
    """Starts a Redis with more *options*; returns its port on 127.0.0.1."""

    def __call__(self, *options: str) -> int: ...


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def start_redis(require, tmp_path: Path) -> Iterator[StartRedis]:
    """Return what starts a Redis of this test alone."""
    with ExitStack() as stack:
        state = local.State.open(tmp_path / "redis-state")
        stack.enter_context(state.lock({"app": "tests"}))
        supervisor = stack.enter_context(local.Supervisor(io.StringIO(), signals=False))

        def start(*options: str) -> int:
            port = free_port()
            try:
                child = local.redis.find(state, os.environ, port=port).child
            except LocalServerError as error:
                require("redis", str(error))
            assert child is not None
            supervisor.start(replace(child, argv=[*child.argv, *options], quiet=True))
            return port

        yield start


@dataclass
class Checked:
    """What `task-server check --json` said, and its exit code."""

    returncode: int
    found: list[dict[str, Any]]

    def of(self, setting: str) -> dict[str, Any]:
        """Return the only finding of *setting*."""
        (one,) = [finding for finding in self.found if finding["setting"] == setting]
        return one


Check = Callable[..., Checked]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Return what runs the command on the project *app* in an empty folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "media").mkdir()

    def run(
        *arguments: str, app: str = "docket", environ: Mapping[str, str] | None = None
    ) -> Checked:
        ended = subprocess.run(
            [sys.executable, "-m", "task_server", "check", "--json", "--app", app, *arguments],
            cwd=folder,
            env={**os.environ, "DJANGO_MEDIA_ROOT": str(folder / "media"), **(environ or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.stdout, ended.stderr
        return Checked(ended.returncode, json.loads(ended.stdout))

    return run
