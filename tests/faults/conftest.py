"""
One Redis a test; report.py has the table at the end of the run.

Without a word the run is short. The long one takes, from the environment:

FAULTS_KILLS     how many times each worker is killed (3)
FAULTS_LANES     only these in the kills: `atomic-prefork-late atomic-gevent-late`
FAULTS_ACKS      `late early`: every fault also with early acknowledgement (late)
FAULTS_DOWN      seconds without Redis (3)
FAULTS_HANGS     seconds of a Redis that is stopped by SIGSTOP (3; 30 is beyond
                 the time-outs of a connection)
FAULTS_DEFAULTS  1: half-open connections are found with the time-outs of
                 task-server, not with shorter ones
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from task_server.errors import LocalServerError
from tests.support.lab import Marks, Redis
from tests.support.postgres import Postgres

# Hundreds of workers are started, and each would compile Celery again:
# half of the time that a worker needs to start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        yield Path(name)


@pytest.fixture
def redis_server(require, folder: Path) -> Iterator[Callable[..., Redis]]:
    """Return the way to start a Redis, which is killed after the test."""
    started: list[Redis] = []

    def start(*options: str, **more: Any) -> Redis:
        server = Redis(folder, *options, **more)
        started.append(server)
        try:
            return server.start()
        except LocalServerError as error:
            require("redis", str(error))

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def broker(redis_server: Callable[..., Redis]) -> Redis:
    """Return a running Redis."""
    return redis_server()


@pytest.fixture
def marks(folder: Path) -> Marks:
    """Return where the runs are written."""
    return Marks(folder)


@pytest.fixture(scope="session")
def kills() -> int:
    """Return how many times each worker is killed: FAULTS_KILLS, or a few."""
    return int(os.environ.get("FAULTS_KILLS", "3"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Judge the whole run when it is over."""
    items.sort(key=lambda item: item.path.name == "test_total.py")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def database(require, folder: Path) -> Iterator[Postgres]:
    """Return a PostgreSQL of this test."""
    server = Postgres(folder)
    try:
        server.start()
    except LocalServerError as error:
        require("postgres", str(error))
    server.prepare()
    yield server
    server.stop()
