"""PostgreSQL in a state folder."""

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import dj_database_url
import psycopg2
import pytest

from task_server import local
from task_server.errors import LocalServerError
from task_server.local.servers import binaries


@contextmanager
def cursor_of(url: str) -> Iterator[psycopg2.extensions.cursor]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def query(url: str, sql: str) -> object:
    with cursor_of(url) as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


@pytest.fixture(scope="module")
def made(session_postgres: local.Server, tmp_path_factory) -> Path:
    """Return the state folder of a cluster that was made and stopped, for copies."""
    state = local.State.open(tmp_path_factory.mktemp("made"))
    server = local.postgres.find(state, os.environ)
    with local.Supervisor(io.StringIO(), signals=False) as supervisor:
        supervisor.start(server.child)
        with cursor_of(server.url) as cursor:
            cursor.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    return state.path


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> local.State:
    """Return a state folder with a copy of that cluster."""
    shutil.copytree(made, tmp_path / "copy", ignore=shutil.ignore_patterns(".s.*"))
    return local.State.open(tmp_path / "copy")


def test_its_settings_suit_development(postgres_server: local.Server) -> None:
    """
    UTF-8, a hundred connections, no TCP port, and commits that reach the disk.
    """
    names = ("server_encoding", "max_connections", "listen_addresses", "fsync")
    found = [query(postgres_server.url, f"SHOW {name}") for name in names]

    assert ["UTF8", "100", "", "on"] == found


def test_letters_beyond_ascii_have_case(postgres_server: local.Server) -> None:
    """
    The locale knows the letters of other languages, so that searches ignore case.
    """
    if int(str(query(postgres_server.url, "SHOW server_version_num"))) < 170000:
        pytest.skip("before 17 PostgreSQL has no locale of its own")

    assert "é" == query(postgres_server.url, "SELECT lower('É')")


def test_its_url_is_one_that_django_takes(postgres_server: local.Server) -> None:
    """
    DATABASE_URL gives Django the folder of the socket, and the PG variables say the same.
    """
    parsed = dj_database_url.parse(postgres_server.environ["DATABASE_URL"])
    variables = postgres_server.environ

    assert (
        variables["PGHOST"],
        int(variables["PGPORT"]),
        variables["PGUSER"],
        variables["PGDATABASE"],
    ) == (parsed["HOST"], parsed["PORT"], parsed["USER"], parsed["NAME"])
    assert Path(variables["PGHOST"], f".s.PGSQL.{variables['PGPORT']}").is_socket()


def test_only_its_owner_reaches_the_socket(postgres_server: local.Server) -> None:
    """
    The folder of the socket is closed to other users, since everybody inside is trusted.
    """
    assert 0o700 == Path(postgres_server.environ["PGHOST"]).stat().st_mode & 0o777


def test_a_second_start_finds_the_first(local_state, session_postgres: local.Server) -> None:
    """
    A second find returns the running server, its pid, and a new database if needed.
    """
    again = local.postgres.find(local_state, os.environ, database="Second one")
    pid = (local_state.path / "postgres" / "postmaster.pid").read_text().split()[0]

    assert again.child is None
    assert f"(pid {pid})" in again.where
    assert "Second one" == query(again.url, "SELECT current_database()")


def test_the_one_of_the_distribution_does_as_well(state, supervisor, monkeypatch) -> None:
    """
    Without the wheel, the PostgreSQL of PATH or of the distribution is run the same way.
    """
    monkeypatch.setattr(binaries, "_wheel_folder", lambda _package: None)
    if not binaries.postgres(os.environ):
        pytest.skip("no PostgreSQL beside the wheel")
    server = local.postgres.find(state, os.environ)
    supervisor.start(server.child)

    assert "UTF8" == query(server.url, "SHOW server_encoding")
    assert "wheel" not in server.where


def test_data_survives_a_kill(copy, supervisor) -> None:
    """
    What was committed is there after kill -9 of the server and a new start.
    """
    first = local.postgres.find(copy, os.environ)
    with local.Supervisor(io.StringIO(), signals=False) as killed:
        killed.start(first.child)
        with cursor_of(first.url) as cursor:
            cursor.execute("UPDATE kept SET answer = 43")
        os.kill(killed.pid(first.child), signal.SIGKILL)
    second = local.postgres.find(copy, os.environ)
    supervisor.start(second.child)

    assert 43 == query(second.url, "SELECT answer FROM kept")


def test_a_stale_pid_is_no_obstacle(copy, supervisor) -> None:
    """
    A pid file, whose number now belongs to another process, does not stop a start.
    """
    data, sockets = copy.path / "postgres", copy.socket_folder()
    other = os.getppid()
    (data / "postmaster.pid").write_text(
        f"{other}\n{data}\n1700000000\n5432\n{sockets}\n\n 1 1\nready   \n"
    )
    (sockets / ".s.PGSQL.5432.lock").write_text(f"{other}\n{data}\n1700000000\n5432\n{sockets}\n")
    server = local.postgres.find(copy, os.environ)
    supervisor.start(server.child)

    assert 42 == query(server.url, "SELECT answer FROM kept")


def test_an_interrupted_initdb_starts_over(state, supervisor, session_postgres) -> None:
    """
    What an initdb that was killed left behind is not taken for a cluster.
    """
    (state.path / "postgres.new" / "base").mkdir(parents=True)
    server = local.postgres.find(state, os.environ)
    supervisor.start(server.child)

    assert "docket" == query(server.url, "SELECT current_database()")
    assert not (state.path / "postgres.new").exists()


def test_a_lost_control_file_is_named(copy) -> None:
    """
    A cluster without pg_control is refused before anything runs on it.
    """
    (copy.path / "postgres" / "global" / "pg_control").unlink()

    with pytest.raises(LocalServerError, match="global/pg_control is missing"):
        local.postgres.find(copy, os.environ)


def test_a_damaged_control_file_is_explained(copy, supervisor) -> None:
    """
    A cluster on which the server refuses to start gives the path, the way out, its own words.
    """
    control = copy.path / "postgres" / "global" / "pg_control"
    control.write_bytes(b"\xff" * control.stat().st_size)
    server = local.postgres.find(copy, os.environ)

    with pytest.raises(LocalServerError, match="is damaged") as caught:
        supervisor.start(server.child)

    assert str(copy.path / "postgres") in str(caught.value)
    assert "FATAL" in str(caught.value) or "PANIC" in str(caught.value)


def test_another_major_version_is_named(copy) -> None:
    """
    A cluster of a version that is not here gives both versions.
    """
    (copy.path / "postgres" / "PG_VERSION").write_text("11\n")

    with pytest.raises(LocalServerError, match=r"is from PostgreSQL 11, but only .*\d"):
        local.postgres.find(copy, os.environ)


@pytest.mark.skipif(os.getuid() != 0, reason="only root is refused by PostgreSQL")
@pytest.mark.parametrize("as_nobody", [False, True], ids=["namespace", "nobody"])
def test_root_has_two_ways_and_may_change(copy, as_nobody) -> None:
    """
    Root runs it in a user namespace, or as nobody, and each way takes over the other's files.
    """
    for way in (as_nobody, not as_nobody):
        server = local.postgres.find(copy, os.environ, as_nobody=way)
        with local.Supervisor(io.StringIO(), signals=False) as supervisor:
            supervisor.start(server.child)
            pid = supervisor.pid(server.child)
            owners = Path(f"/proc/{pid}").stat().st_uid, (copy.path / "postgres").stat().st_uid
            answer = query(server.url, "SELECT answer FROM kept")

        assert 42 == answer
        assert (0 != owners[1]) == way
        assert (0 != owners[0]) == way


@pytest.mark.skipif(os.getuid() != 0, reason="only root is refused by PostgreSQL")
def test_root_that_can_neither_gets_the_repair(copy) -> None:
    """
    Where root may neither make a namespace nor change user, the error says what would do.
    """
    program = (
        "import os, sys; from task_server.local import State, postgres\n"
        "postgres.find(State.open(sys.argv[1]), os.environ, as_nobody=True)"
    )
    bound = ["setpriv", "--bounding-set", "-setuid", "--inh-caps", "-setuid"]
    done = subprocess.run(
        [*bound, sys.executable, "-c", program, str(copy.path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "Run as an ordinary user with a name, or set DATABASE_URL" in done.stderr
