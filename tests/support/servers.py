"""
Real servers for the tests: one Redis and one PostgreSQL a session, started
through task_server.local in a folder of their own; and the real documents.
"""

import io
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2
import pytest
import redis as redis_client

from task_server import local
from task_server.errors import LocalServerError
from tests.support.once import made_once

_DATABASE_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Servers:
    """Both servers; *environ* is this process's with what their clients need."""

    state: local.State
    redis: local.Server
    postgres: local.Server
    environ: Mapping[str, str]


@pytest.fixture(scope="session")
def local_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.State]:
    """Return the state folder of the session's servers."""
    state = local.State.open(tmp_path_factory.mktemp("state"))
    with state.lock({"app": "tests"}):
        yield state


@pytest.fixture(scope="session")
def session_supervisor() -> Iterator[local.Supervisor]:
    """Run the session's servers; pytest keeps its own Ctrl-C."""
    with local.Supervisor(io.StringIO(), signals=False) as running:
        yield running


def _started(supervisor: local.Supervisor, server: local.Server) -> local.Server:
    assert server.child is not None
    supervisor.start(replace(server.child, quiet=True))
    return server


@pytest.fixture(scope="session")
def session_redis(require, local_state, session_supervisor) -> local.Server:
    """Return the session's Redis."""
    try:
        return _started(session_supervisor, local.redis.find(local_state, os.environ))
    except LocalServerError as error:
        require("redis", str(error))


@pytest.fixture(scope="session")
def session_postgres(require, local_state, session_supervisor, tmp_path_factory) -> local.Server:
    """Return the session's PostgreSQL."""
    try:
        server = local.postgres.find(local_state, os.environ)
        _take_cluster(tmp_path_factory, local_state.path / "postgres", server, session_supervisor)
        return _started(session_supervisor, server)
    except LocalServerError as error:
        require("postgres", str(error))


def _take_cluster(
    factory: pytest.TempPathFactory, data: Path, server: local.Server, supervisor: local.Supervisor
) -> None:
    """Copy the cluster that another process of pytest-xdist has initialised, or leave one."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return

    def initialise(folder: Path) -> None:
        assert server.child is not None
        assert server.child.before is not None
        server.child.before(supervisor.run_job)
        shutil.copytree(data, folder)

    template = made_once(factory, "cluster", initialise)
    if not data.exists():
        shutil.copytree(template, data)


@pytest.fixture(scope="session")
def servers(local_state, session_redis, session_postgres) -> Servers:
    """Return both servers, with what earlier tests left in them."""
    environ = {**os.environ, **session_redis.environ, **session_postgres.environ}
    return Servers(local_state, session_redis, session_postgres, environ)


@pytest.fixture
def redis_server(session_redis: local.Server) -> local.Server:
    """Return a Redis that is empty."""
    with redis_client.Redis.from_url(session_redis.client_url) as client:
        client.flushall()
    return session_redis


@pytest.fixture
def postgres_server(local_state, session_postgres: local.Server) -> Iterator[local.Server]:
    """Return a PostgreSQL whose database is new, and of this test alone."""
    name = f"test_{next(_DATABASE_NUMBERS)}"
    yield local.postgres.find(local_state, os.environ, database=name)
    with closing(psycopg2.connect(session_postgres.client_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def documents(require) -> Path:
    """Return the folder of real court documents, which is not part of the project."""
    default = Path(__file__).parents[3] / "shared" / "documents"
    folder = Path(os.environ.get("TASK_SERVER_DOCUMENTS", default)).resolve()
    if not folder.is_dir():
        require("documents", f"there is no folder {folder}; name one in TASK_SERVER_DOCUMENTS")
    return folder
