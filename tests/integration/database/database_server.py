"""
A PostgreSQL of its own, counted from outside, and the program that runs under gevent.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg2
import pytest

from task_server.local.servers import binaries, identity
from task_server.local.supervisor.process import SPAWN
from tests.support.wait import until

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "src"
#: What the program needs beside psycopg 3, which the development environment lacks.
PSYCOPG3 = [
    *("celery[redis]>=5.6.2,<5.8", "gevent", "django>=5.2,<5.3", "psycopg[binary,pool]>=3.2"),
    *("opentelemetry-instrumentation-psycopg>=0.60b0", "opentelemetry-sdk>=1.39"),
]


def as_its_user(data: Path, program: str, *arguments: str | Path) -> list[str]:
    """Return the command that runs *program* of PostgreSQL, which refuses root, on *data*."""
    who = identity.choose_user()
    identity.chown_tree(data, who)
    become = (sys.executable, "-I", "-S", SPAWN, str(os.getpid()), "0", who.spec)
    return [*map(str, (*become, postgresql_folder() / program, *arguments))]


def initialise(folder: Path) -> None:
    """Make the data of a server in *folder*."""
    folder.mkdir(mode=0o700)
    subprocess.run(
        as_its_user(
            folder,
            *("initdb", "-D", folder, "-U", "tester"),
            *("-A", "trust", "-E", "UTF8", "--locale=C", "-N"),
        ),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def postgresql_folder() -> Path:
    """Return the folder of PostgreSQL's programs, the one that `task-server up` prefers."""
    for found in binaries.postgres(os.environ):
        return found.path.parent
    pytest.fail("no PostgreSQL: install the extra `embedded`, or put postgres on PATH")


@dataclass
class Server:
    """A PostgreSQL with max_connections = 100 on a unix socket of its own."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        """Start it, and wait until it answers; its data are made unless they are there."""
        data = self.folder / "data"
        if not data.exists():
            initialise(data)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                as_its_user(
                    self.folder,
                    *("postgres", "-D", data, "-k", self.folder),
                    *("-c", "listen_addresses=", "-c", "max_connections=100", "-c", "fsync=off"),
                ),
                stdout=log,
                stderr=log,
            )
        process = self.process
        until(lambda: self._answers() or process.poll() is not None, "PostgreSQL to answer")
        assert process.poll() is None, self.log[-2000:]

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(30)

    def connect(self) -> Any:
        connection = psycopg2.connect(host=str(self.folder), user="tester", dbname="postgres")
        connection.autocommit = True
        return connection

    def count(self, condition: str = "true") -> int:
        """Return how many client sessions, but for the asking one, meet *condition*."""
        connection = self.connect()
        try:
            return count(connection, condition)
        finally:
            connection.close()


def count(connection: Any, condition: str = "true") -> int:
    """Return how many client sessions of the programs meet *condition*."""
    with connection.cursor() as cursor:
        sql = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
            "AND application_name = 'tasks' AND "
        )
        cursor.execute(sql + condition)
        return int(cursor.fetchone()[0])


@dataclass
class Sampler:
    """Counts sessions from outside for as long as a block lasts."""

    server: Server
    most: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._connection = self.server.connect()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while not self._over.wait(0.005):
            self.most = max(self.most, count(self._connection))


@dataclass
class Program:
    """The child: `database_program.py SCENARIO`, one JSON line each way."""

    process: subprocess.Popen[str]

    def say(self, word: str = "go") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        """Return the next thing the program says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            pytest.fail(f"the program ended with {self.process.wait(10)}")
        return json.loads(line)


@dataclass
class Launcher:
    """Starts the program with one of the two drivers."""

    command: list[str]
    server: Server
    programs: list[Program] = field(default_factory=list)

    def __call__(self, scenario: str, **settings: Any) -> Program:
        options: Mapping[str, Any] = {"host": str(self.server.folder), **settings}
        process = subprocess.Popen(
            [*self.command, str(HERE / "database_program.py"), scenario, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
        )
        self.programs.append(Program(process))
        return self.programs[-1]
