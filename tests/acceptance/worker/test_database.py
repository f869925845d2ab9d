"""Tasks of a gevent worker that hold locks and connections to PostgreSQL."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from celery import Celery
from psycopg2.extensions import parse_dsn

from task_server import local
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import Worker


@pytest.fixture
def database(postgres_server: local.Server) -> Iterator[Any]:
    """A connection to the project's database, with its tables."""
    with closing(psycopg2.connect(postgres_server.client_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE log (line text)")
            cursor.execute("CREATE TABLE shared AS SELECT 1")
        yield connection


@pytest.fixture
def begin(
    database: Any, postgres_server: local.Server, start: Callable[..., Worker]
) -> Callable[..., Worker]:
    """Start a gevent worker of the project."""
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
    dsn = parse_dsn(postgres_server.client_url)
    environ = {names[key]: value for key, value in dsn.items() if key in names}
    environ["PGDATABASE"] = dsn["dbname"]

    def begin_worker(**settings: Any) -> Worker:
        settings = {"concurrency": 64, "database_connections": 20} | settings
        worker = start("gevent", app="jamming", environ=environ, **settings)
        worker.hear("READY=1")
        return worker

    return begin_worker


def logged(database: Any) -> int:
    with database.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT line) FROM log")
        return int(cursor.fetchone()[0])


def sender(broker: Redis) -> Any:
    return closing(Celery("jamming", broker=broker.url))


@pytest.mark.parametrize("name", ["job", "row", "started"])
def test_a_log_in_the_database_stops_no_task(
    name: str, broker: Redis, begin: Callable[..., Worker], database: Any
) -> None:
    """
    60 tasks on 20 connections all succeed, twice; and the worker stays ready.
    """
    worker = begin()
    for turn in (1, 2):
        with sender(broker) as app:
            for number in range(60):
                app.send_task(f"jamming.{name}", (number + 100 * turn,))
        until(lambda turn=turn: logged(database) == 120 * turn)
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))

    assert worker.verdict().ready
    assert "Traceback (most recent call last)" not in worker.output()


def test_health_says_that_connections_do_not_move(
    broker: Redis, begin: Callable[..., Worker], database: Any
) -> None:
    """
    With all connections held by tasks that want a lock the worker is alive, and not ready.
    """
    worker = begin(concurrency=4, database_connections=1)
    with sender(broker) as app:
        app.send_task("jamming.lock_until", (broker.url, "over"))
        until(lambda: broker.unacked() == 1)
        app.send_task("jamming.want_lock")
        app.send_task("jamming.job", (1,))
    until(lambda: not worker.verdict().ready)
    verdict = worker.verdict()
    broker.client.lpush("over", 1)
    until(lambda: worker.verdict().ready)
    until(lambda: logged(database) == 2)

    assert verdict.alive
    assert "all 1 connections to PostgreSQL are held by tasks that wait for locks" in verdict.reason
