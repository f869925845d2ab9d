"""
One PostgreSQL a module, and the program with either driver.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from green_server import (
    PSYCOPG3,
    REQUIRED,
    Launcher,
    Server,
    become_nobody,
    postgresql_binaries,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # A unix socket's path may have 107 characters, which pytest's folders exceed.
    folder = Path(tempfile.mkdtemp(prefix="green-"))
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
