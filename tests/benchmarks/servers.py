"""The servers that a setup needs, each of this run alone."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from tests.benchmarks.sides import Setup
from tests.support.postgres import Postgres
from tests.support.redis import Redis


@dataclass(frozen=True)
class Servers:
    """Redis, and what the others want their clients to know."""

    redis: Redis
    environ: Mapping[str, str]


@contextmanager
def servers(setup: Setup, folder: Path) -> Iterator[Servers]:
    """Run the servers of *setup* in *folder*."""
    with ExitStack() as ends:
        # Written to disk every second, as operators have it; not rewritten in
        # the middle of a row. A client may wait while gigabytes are freed.
        redis = Redis(
            *(folder, "--auto-aof-rewrite-percentage", "0", "--databases", "32"),
            *("--proto-max-bulk-len", "1gb"),
            patience=60,
        )
        ends.callback(redis.kill)
        redis.start()
        environ: dict[str, str] = {}
        if "postgres" in setup.needs:
            postgres = Postgres(folder)
            ends.callback(postgres.stop)
            postgres.start()
            _fill(postgres.url)
            environ["BENCH_DATABASE"] = postgres.url
        yield Servers(redis, environ)


def _fill(url: str) -> None:
    """Make the table of the project `orm`, and a hundred rows."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE courts_court (id bigserial PRIMARY KEY, name text NOT NULL)")
        cursor.execute(
            "INSERT INTO courts_court (name) SELECT 'Court ' || n FROM generate_series(1, 100) n"
        )
        connection.commit()
