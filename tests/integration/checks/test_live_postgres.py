"""The command on the reference project, with a real PostgreSQL."""

from collections.abc import Callable
from contextlib import closing
from urllib.parse import quote, urlsplit

import psycopg2
import pytest

from tests.integration.checks.conftest import Check
from tests.support.ports import own_port


@pytest.fixture
def environ(redis_server, postgres_server) -> dict[str, str]:
    """Return what the project needs to reach both servers."""
    return {**redis_server.environ, **postgres_server.environ}


def test_pending_migrations_are_a_warning(check: Check, environ) -> None:
    """
    A new database answers, and lacks the migrations.
    """
    checked = check("--live", environ=environ)

    assert "ok" == checked.of("DATABASES['default']")["level"]
    migrations = checked.of("DATABASES['default'] migrations")
    assert "warning" == migrations["level"]
    assert "run `python manage.py migrate`" == migrations["repair"]
    assert 0 == checked.returncode


def test_workers_that_want_too_many_connections_are_an_error(
    check: Check, environ, postgres_server
) -> None:
    """
    The bounds of all workers are summed, and compared with max_connections less the reserved.
    """
    setting = f"max_connections of {postgres_server.environ['PGHOST']}:5432"

    enough = check("--live", "--worker", "gevent=4", environ=environ)
    too_many = check("--live", "--worker", "gevent=5", environ=environ)

    assert "ok" == enough.of(setting)["level"]
    assert 78 == too_many.returncode
    assert "error" == too_many.of(setting)["level"]
    assert (
        "workers open up to 100 connections (5 x gevent with 20) of 97 "
        "(max_connections 100 less 3 reserved)" == too_many.of(setting)["message"]
    )


def test_the_limit_of_a_role_counts(check: Check, environ, postgres_server) -> None:
    """
    A role or database with fewer connections than the server is what bounds.
    """
    url = urlsplit(postgres_server.client_url)
    name = url.path.strip("/")
    # Superusers have no limit of a database, but the number is what others get.
    with closing(psycopg2.connect(postgres_server.client_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 10")

    checked = check("--live", "--worker", "gevent", environ=environ)

    found = checked.of(f"max_connections of {postgres_server.environ['PGHOST']}:5432")
    assert ("error", "of 10 (the limit of the database)") == (
        found["level"],
        found["message"].split(") ", 1)[1],
    )


def test_a_database_that_is_not_there_is_the_configuration(
    check: Check, environ, postgres_server
) -> None:
    """
    The server reports a wrong name, so the exit code is 78.
    """
    url = environ["DATABASE_URL"].rsplit("/", 1)[0] + "/no_such_database"

    checked = check("--live", environ={**environ, "DATABASE_URL": url})

    found = checked.of("DATABASES['default']")
    assert "has no database 'no_such_database'" in found["message"]
    assert (78, False) == (checked.returncode, found["peer"])


def test_an_absent_server_is_exit_69(check: Check, environ) -> None:
    """
    A refused connection names host and port, and blames no configuration.
    """
    port = own_port()
    url = f"postgresql://user:hunter2@127.0.0.1:{port}/docket"

    checked = check("--live", environ={**environ, "DATABASE_URL": url})

    found = checked.of("DATABASES['default']")
    assert f"127.0.0.1:{port}/docket refuses the connection" in found["message"]
    assert (69, True) == (checked.returncode, found["peer"])
    assert "hunter2" not in str(checked.found)


def test_a_folder_without_a_socket_is_reported(check: Check, environ, tmp_path) -> None:
    """
    A socket folder in which no server listens is named.
    """
    url = f"postgresql://user@{quote(str(tmp_path), safe='')}:5432/docket"

    checked = check("--live", environ={**environ, "DATABASE_URL": url})

    assert (
        f"PostgreSQL at {tmp_path}:5432/docket has no socket there"
        == checked.of("DATABASES['default']")["message"]
    )


@pytest.fixture
def more_settings(tmp_path) -> Callable[[str], dict[str, str]]:
    """Return what adds a file of settings to the reference project."""

    def write(text: str) -> dict[str, str]:
        path = tmp_path / "20-more.py"
        path.write_text(text)
        return {"TASK_SERVER_SETTINGS_PATH": str(path)}

    return write


@pytest.mark.parametrize("worker", ["prefork", "gevent"])
def test_connections_that_live_long_buy_nothing(
    check: Check, environ, more_settings, worker: str
) -> None:
    """
    CONN_MAX_AGE is explained once, for either pool.
    """
    more = more_settings('DATABASES["default"]["CONN_MAX_AGE"] = 600\n')

    checked = check("--worker", worker, environ={**environ, **more})

    found = checked.of("DATABASES['default']['CONN_MAX_AGE']")
    assert "info" == found["level"]
    assert "has no effect in a worker" in found["message"]


def test_a_bound_below_the_aliases_is_an_error(check: Check, environ, more_settings) -> None:
    """
    A gevent worker needs a connection for each alias that a task may use.
    """
    more = more_settings('DATABASES["other"] = DATABASES["default"]\n')
    more["TASK_SERVER_WORKERS_GEVENT_DATABASE_CONNECTIONS"] = "1"

    checked = check(environ={**environ, **more})

    assert 78 == checked.returncode
    assert (
        "is less than the 2 PostgreSQL aliases"
        in checked.of("workers.gevent.database_connections")["message"]
    )
