"""The servers that a setup needs, each of this run alone."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from tests.benchmarks.serving import DNS_SERVER, HTTP_SERVER
from tests.benchmarks.serving.namespace import namespace
from tests.benchmarks.sides import Setup
from tests.support.postgres import Postgres
from tests.support.redis import Redis

#: After how many milliseconds they answer.
HTTP_LATENCY = 200
DNS_LATENCY = 50


@dataclass(frozen=True)
class Servers:
    """
    Redis, and what the others want their clients to know.

    Attributes:
        prefix: A command that every process of the setup is started by.
    """

    redis: Redis
    environ: Mapping[str, str]
    prefix: Sequence[str]


class UnavailableError(Exception):
    """Raised when a server that a setup needs cannot be had here."""


@contextmanager
def servers(setup: Setup, folder: Path) -> Iterator[Servers]:
    """
    Run the servers of *setup* in *folder*.

    Raises:
        UnavailableError: One of them cannot run here.
    """
    with ExitStack() as ends:
        prefix: tuple[str, ...] = ()
        environ: dict[str, str] = {}
        if "names" in setup.needs:
            try:
                prefix = ends.enter_context(namespace(folder))
            except OSError as error:
                raise UnavailableError(str(error)) from error
            ends.enter_context(_program(prefix, DNS_SERVER, DNS_LATENCY))
        if {"http", "names"} & setup.needs:
            port = ends.enter_context(_program(prefix, HTTP_SERVER, HTTP_LATENCY))
            environ["BENCH_HTTP_PORT"] = port
        if "postgres" in setup.needs:
            # It takes 100 by itself.
            most = (setup.connections or 0) + 100
            postgres = Postgres(folder, "-c", f"max_connections={most}")
            ends.callback(postgres.stop)
            postgres.start()
            _fill(postgres.url)
            environ["BENCH_DATABASE"] = environ["DATABASE_URL"] = postgres.url
            if setup.project == "docket":
                _migrate(environ)
        # Written to disk every second, as operators have it; not rewritten in
        # the middle of a row. A client may wait while gigabytes are freed.
        redis = Redis(
            *(folder, "--auto-aof-rewrite-percentage", "0", "--databases", "32"),
            *("--proto-max-bulk-len", "1gb"),
            prefix=prefix,
            patience=120,
        )
        ends.callback(redis.kill)
        redis.start()
        yield Servers(redis, environ, prefix)


@contextmanager
def _program(prefix: Sequence[str], file: Path, argument: int) -> Iterator[str]:
    """Run *file* and yield the line that it prints when it listens."""
    with subprocess.Popen(
        [*prefix, sys.executable, str(file), str(argument)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise UnavailableError(f"{file.name} does not listen")
            yield line.strip()
        finally:
            process.kill()


def _fill(url: str) -> None:
    """Make the table of the project `orm`, and a hundred rows."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE courts_court (id bigserial PRIMARY KEY, name text NOT NULL)")
        cursor.execute(
            "INSERT INTO courts_court (name) SELECT 'Court ' || n FROM generate_series(1, 100) n"
        )
        connection.commit()


def _migrate(environ: Mapping[str, str]) -> None:
    """Make the tables of docket."""
    command = [sys.executable, "-m", "docket", "migrate", "--verbosity", "0"]
    subprocess.run(command, env={**os.environ, **environ}, check=True)
