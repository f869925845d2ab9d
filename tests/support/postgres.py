"""A PostgreSQL that can be restarted and killed, and the marks of tasks in it."""

import io
import os
import signal
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Self

import psycopg2

from task_server import local
from task_server.local.servers import cluster
from tests.support.marks import Marks
from tests.support.wait import until


class Postgres:
    """A server of one test, below *folder*, started with *options* beside its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._state = local.State.open(folder / "state")
        self._supervisor: local.Supervisor | None = None
        self._options = options
        self.url = ""

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        server = local.postgres.find(self._state, os.environ, database="faults")
        assert server.child is not None
        self._supervisor = local.Supervisor(io.StringIO(), signals=False)
        argv = [*server.child.argv, *self._options]
        self._supervisor.start(replace(server.child, argv=argv, quiet=True))
        self.url = server.client_url
        return self

    def prepare(self) -> None:
        """Make the table of the marks."""
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE marks (lane text, number int, at float)")
            connection.commit()

    def stop(self) -> None:
        """Stop it as an operator would: running transactions are broken off."""
        if self._supervisor is not None:
            self._supervisor.stop()
            self._supervisor = None

    def kill(self) -> None:
        """Kill its main process; the others end when they notice."""
        data = self._state.path / "postgres"
        running = cluster.running(data)
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        until(lambda: cluster.running(data) is None, "PostgreSQL to be gone")
        self.stop()

    def marks(self, folder: Path, name: str) -> Marks:
        """Return the marks of one lane."""
        return _Rows(folder, name, self)


class _Rows(Marks):
    """Marks in the table; while there is no server, those that were seen before."""

    def __init__(self, folder: Path, name: str, server: Postgres) -> None:
        super().__init__(folder, name)
        self._server = server
        self._seen: list[tuple[int, float]] = []

    def ended(self) -> list[tuple[int, float]]:
        """Return (number, time of its end) of each run."""
        try:
            with (
                closing(psycopg2.connect(self._server.url)) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute("SELECT number, at FROM marks WHERE lane = %s", [self.path.name])
                self._seen = cursor.fetchall()
        except psycopg2.OperationalError:
            pass
        return self._seen
