"""Servers with something wrong, and the program that has to find it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import pytest

from task_server.errors import LocalServerError
from tests.support.program import Program
from tests.support.redis import Redis


class StartRedis(Protocol):
    """Starts a Redis with *settings* and more *options*; returns its port on 127.0.0.1."""

    def __call__(self, *options: str, settings: Path | None = None) -> int: ...


@pytest.fixture
def start_redis(require) -> Iterator[StartRedis]:
    """Return what starts a Redis of this test alone."""
    with ExitStack() as stack:

        def start(*options: str, settings: Path | None = None) -> int:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="redis-")))
            server = Redis(folder, *options, settings=settings)
            stack.callback(server.stop)
            try:
                server.start()
            except LocalServerError as error:
                require("redis", str(error))
            # The connection of the test is one that the server allows no other.
            server.client.connection_pool.disconnect()
            return server.port

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
def check(program: Program) -> Check:
    """Return what runs the command on the project *app* in an empty folder."""
    media = program.folder / "media"
    media.mkdir()

    def run(
        *arguments: str, app: str = "docket", environ: Mapping[str, str] | None = None
    ) -> Checked:
        variables = {"DJANGO_MEDIA_ROOT": str(media), **(environ or {})}
        ended = program("check", "--json", "--app", app, *arguments, **variables)
        assert ended.stdout, ended.stderr
        return Checked(ended.returncode, json.loads(ended.stdout))

    return run
