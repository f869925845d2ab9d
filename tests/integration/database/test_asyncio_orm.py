"""asyncio in tasks of a real Celery worker, with Django's ORM on a real PostgreSQL."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.integration.database.database_server import Launcher, Sampler, Server
from tests.integration.database.pooled_worker import environ_of, worker_of

ENQUEUE = """
import collections, contextlib, sys, time
import celery.exceptions
import pooled
names = sys.argv[1].split(",")
results = [pooled.app.tasks[f"pooled.{name}"].delay() for name in names]
deadline = time.monotonic() + 100
for one in results:
    with contextlib.suppress(celery.exceptions.TimeoutError):
        one.get(timeout=max(0.1, deadline - time.monotonic()), propagate=False)
print(collections.Counter(str(one.result) for one in results))
"""


@pytest.fixture
def environ(server: Server, redis_url: str) -> dict[str, str]:
    return environ_of(server, redis_url)


@pytest.fixture
def worker(launch: Launcher, server: Server, environ: dict[str, str]) -> Iterator[None]:
    """A worker of 64 greenlets and 20 connections, with either driver."""
    with worker_of(server, launch.command, 64, environ):
        yield


def run(launch: Launcher, environ: dict[str, str], names: list[str]) -> str:
    """Run the tasks *names* at once; return the count of each result."""
    done = subprocess.run(
        [*launch.command, "-c", ENQUEUE, ",".join(names)],
        check=True,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        timeout=150,
    )
    return done.stdout.strip()


@pytest.mark.usefixtures("worker")
def test_loops_and_the_orm_beside_each_other(
    launch: Launcher, server: Server, environ: dict[str, str]
) -> None:
    """
    Ten tasks in loops beside fifty with the ORM, some of them within loops: 60 of 60, within
    the limit.
    """
    names = ["by_run", "by_async_to_sync"] * 5
    names += ["orm"] * 25 + ["orm_in_a_loop", "orm_of_the_caller"] * 10
    names += ["orm_in_other_threads"] * 5

    with Sampler(server) as sampler:
        found = run(launch, environ, names)

    assert "Counter({'True': 60})" == found
    assert 1 < sampler.most <= 20


@pytest.mark.usefixtures("worker")
def test_a_loop_works_in_the_tasks_own_session(
    launch: Launcher, server: Server, environ: dict[str, str]
) -> None:
    """
    Forty tasks hold a session, as far as there are, and query within loops: none needs another.
    """
    with Sampler(server) as sampler:
        found = run(launch, environ, ["orm_around"] * 40)

    assert "Counter({'True': 40})" == found
    assert sampler.most <= 20
