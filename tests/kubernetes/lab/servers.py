"""Redis and PostgreSQL beside the cluster, on an address that pods reach."""

import io
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2

from task_server import local
from task_server.local.supervisor.child import RunJob
from tests.kubernetes.lab.control import GATEWAY, PODS
from tests.support.ports import own_port
from tests.support.redis import Redis


@contextmanager
def redis(folder: Path) -> Iterator[Redis]:
    """Run a Redis that pods reach, too."""
    folder.mkdir()
    server = Redis(folder, "--bind", "127.0.0.1", GATEWAY, "--protected-mode", "no").start()
    try:
        yield server
    finally:
        server.kill()


@dataclass(frozen=True)
class Database:
    """A PostgreSQL; its users shop and docket have their name as password over the network."""

    port: int
    #: Where the tests are its superuser.
    socket: str

    def connect(self, name: str) -> "closing[psycopg2.extensions.connection]":
        """Connect to the database *name*, as the superuser."""
        connection = psycopg2.connect(
            host=self.socket, port=self.port, user="postgres", dbname=name
        )
        connection.autocommit = True
        return closing(connection)

    def create(self, name: str, user: str) -> None:
        """Make a database that is empty, of *user*."""
        with self.connect("postgres") as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            cursor.execute(f"CREATE DATABASE {name} OWNER {user}")

    def url(self, name: str, user: str) -> str:
        """Return the URL by which *user* enters from a pod."""
        return f"postgresql://{user}:{user}@{GATEWAY}:{self.port}/{name}"

    def execute(self, name: str, statement: str) -> None:
        """Run one statement, as the superuser."""
        with self.connect(name) as connection, connection.cursor() as cursor:
            cursor.execute(statement)


@contextmanager
def postgres(folder: Path) -> Iterator[Database]:
    """Run a PostgreSQL that pods reach meanwhile."""
    folder.mkdir()
    state = local.State.open(folder)
    port = own_port()
    server = local.postgres.find(state, os.environ, database="shop", port=port)
    assert server.child is not None
    child = server.child

    def before(run_job: RunJob) -> None:
        assert child.before is not None
        child.before(run_job)
        # Pods give a password; this machine's socket is the superuser's.
        with (folder / "postgres" / "pg_hba.conf").open("a") as file:
            file.write(
                f"host all all {PODS} scram-sha-256\nhost all all {GATEWAY}/32 scram-sha-256\n"
            )

    more = ("-c", f"listen_addresses=127.0.0.1,{GATEWAY}", "-c", "max_connections=400")
    with local.Supervisor(io.StringIO(), signals=False) as supervisor:
        changed = replace(child, argv=[*child.argv, *more, "-c", "fsync=off"], before=before)
        supervisor.start(replace(changed, quiet=True))
        database = Database(port, server.environ["PGHOST"])
        for user in ("shop", "docket"):
            database.execute("postgres", f"CREATE ROLE {user} LOGIN PASSWORD '{user}'")
        yield database


@dataclass(frozen=True)
class Runs:
    """The runs of the shop's tasks, in its database."""

    database: Database
    name: str

    def began(self) -> Counter[int]:
        """Return how often each number has begun."""
        return self._count("SELECT number FROM shop_run")

    def ended(self) -> Counter[int]:
        """Return how often each number has ended."""
        return self._count("SELECT number FROM shop_run WHERE ended IS NOT NULL")

    def cut(self) -> set[int]:
        """Return the numbers that have begun and not ended, in some run."""
        return set(self._count("SELECT number FROM shop_run WHERE ended IS NULL"))

    def hosts(self) -> set[str]:
        """Return the pods in which tasks have begun."""
        return {host for (host,) in self._rows("SELECT DISTINCT host FROM shop_run")}

    def _count(self, query: str) -> Counter[int]:
        return Counter(number for (number,) in self._rows(query))

    def _rows(self, query: str) -> list[tuple]:  # type: ignore[type-arg]
        with self.database.connect(self.name) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
