"""
One PostgreSQL a module, and the program with either driver.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from task_server.errors import LocalServerError
from tests.integration.database.database_server import PSYCOPG3, Launcher, Server, initialise
from tests.support.once import made_once
from tests.support.redis import Redis
from tests.support.require import Require, is_required


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # A unix socket's path may have 107 characters, which pytest's folders exceed.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    shutil.copytree(made_once(tmp_path_factory, "tester", initialise), folder / "data")
    server = Server(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["psycopg2", "psycopg3"])
def python(request: pytest.FixtureRequest) -> list[str]:
    """Return a Python that has the driver."""
    if request.param == "psycopg2":
        return [sys.executable]
    if not is_required("psycopg3"):
        pytest.skip("TASK_SERVER_REQUIRE does not name psycopg3")
    extras = [word for package in PSYCOPG3 for word in ("--with", package)]
    return ["uv", "run", "--quiet", "--isolated", "--no-project", *extras, "python"]


@pytest.fixture
def launch(python: list[str], server: Server) -> Iterator[Launcher]:
    launcher = Launcher(python, server)
    yield launcher
    for program in launcher.programs:
        program.process.kill()
        program.process.communicate()


@pytest.fixture(scope="module")
def redis_url(server: Server, require: Require) -> Iterator[str]:
    redis = Redis(server.folder)
    try:
        redis.start()
    except LocalServerError as error:
        require("redis", str(error))
    yield f"{redis.path}"
    redis.stop()
