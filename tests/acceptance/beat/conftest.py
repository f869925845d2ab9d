"""A Redis of its own for each test of beat, and the project."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from task_server.errors import LocalServerError
from tests.support.beat import project
from tests.support.redis import Redis


@pytest.fixture
def server(tmp_path: Path, require) -> Iterator[Redis]:
    """Have a Redis that forgets all when it is restarted."""
    folder = tmp_path / "redis"
    folder.mkdir()
    try:
        one = Redis(folder, "--appendonly", "no").start()
    except LocalServerError as error:
        require("redis", str(error))
    yield one
    one.signal(18)
    one.stop()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """Return the folder of a project that ticks each second."""
    return project(tmp_path / "code")
