"""`task-server up` for projects that are not ours: what they name is used, and left as it is."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from task_server import local
from task_server.local.servers import cluster
from tests.support.program import Output, Program
from tests.support.site import SETTINGS, write_site

UP = ("up", "--worker", "prefork", "--flower-port", "0")


@pytest.fixture
def project(program: Program) -> Path:
    """Return the package of a Django project in the program's folder, with its manage.py."""
    package = write_site(program.folder)
    program.environ = {**program.environ, "TASK_SERVER_WORKERS_PREFORK_CONCURRENCY": "1"}
    return package


@pytest.fixture
def production(session_postgres: local.Server, postgres_server: local.Server) -> local.Server:
    """Return a PostgreSQL that `up` did not start, with an empty database."""
    cluster.ensure_database(postgres_server.environ, postgres_server.environ["PGDATABASE"])
    return postgres_server


@pytest.fixture
def silent() -> Iterator[int]:
    """Return the port of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def names(server: local.Server, broker: str) -> str:
    """Return settings that read no variable."""
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": server.environ["PGDATABASE"],
        "USER": server.environ["PGUSER"],
        "HOST": server.environ["PGHOST"],
        "PORT": server.environ["PGPORT"],
    }
    return (
        f"DATABASES = {{'default': {database!r}}}\n"
        f"CELERY_BROKER_URL = CELERY_RESULT_BACKEND = {broker!r}\n"
    )


def migrations(server: local.Server) -> int:
    """Return how many migrations the database of *server* has seen."""
    with closing(psycopg2.connect(server.client_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('django_migrations') IS NULL")
        if cursor.fetchone() == (True,):
            return 0
        cursor.execute("SELECT count(*) FROM django_migrations")
        (count,) = cursor.fetchone() or (0,)
        return int(count)


def result(program: Program, **environ: str) -> str:
    """Return what `manage.py shell`, another process of the project, gets from a task."""
    code = "from site1.tasks import add; print('sum', add.delay(2, 3).get(timeout=60))"
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--command", code],
        cwd=program.folder,
        env={**program.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.splitlines()[-1]


def exports(output: Output) -> dict[str, str]:
    """Return the variables that were printed for other processes."""
    found = (re.fullmatch(r"  export (\w+)=(\S+)", line) for line in output.seen)
    return {one[1]: one[2].strip("'") for one in found if one}


def stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGINT)
    assert 0 == process.wait(timeout=90)


def test_a_database_that_the_settings_name_is_not_migrated(
    program: Program, project: Path, production: local.Server, redis_server: local.Server
) -> None:
    """
    It is used, and so is the named Redis, from which the project's other processes get results;
    nothing of ours is started. --migrate migrates it, and says its name before.
    """
    settings = names(production, redis_server.url)
    (project / "settings.py").write_text(SETTINGS + settings)
    name = f"PostgreSQL {production.environ['PGDATABASE']} at {production.environ['PGHOST']}:5432"

    process = program.start(*UP)
    output = Output(process)
    output.until("Up: prefork")

    assert 0 == migrations(production)
    assert "sum 5" == result(program)
    text = "\n".join(output.seen)
    assert f"broker: {redis_server.url}, set by CELERY_BROKER_URL" in text
    assert f"results: {redis_server.url}, set by CELERY_RESULT_BACKEND" in text
    assert f"database default: {name}, set by the project" in text
    assert f"not migrated: {name} (default; use --migrate)" in text
    assert {} == exports(output)
    kept = {path.name for path in (program.folder / ".task-server").iterdir()}
    assert set() == kept & {"redis", "postgres"}
    stop(process)

    process = program.start(*UP, "--migrate")
    output = Output(process)
    output.until(f"migrations: {name} (default)")
    assert 0 == migrations(production)
    output.until("Up: prefork")
    assert 14 == migrations(production)
    stop(process)


def test_sqlite_needs_no_postgres_and_the_web_process_finds_the_redis(
    program: Program, project: Path
) -> None:
    """
    Redis is ours, for the settings take it from a variable that is printed; SQLite is left alone.
    """
    (project / "settings.py").write_text(
        f"{SETTINGS}\nCELERY_BROKER_URL = os.environ.get('CELERY_BROKER_URL', 'redis://db/0')\n"
        "CELERY_RESULT_BACKEND = os.environ.get('CELERY_RESULT_BACKEND', CELERY_BROKER_URL)\n"
        "DATABASES = {'default': dict(ENGINE='django.db.backends.sqlite3', NAME='db.sqlite3')}\n"
    )

    process = program.start(*UP)
    output = Output(process)
    output.until("Up: prefork")

    assert {"CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"} == set(exports(output))
    assert "sum 5" == result(program, **exports(output))
    text = "\n".join(output.seen)
    assert "not migrated: SQLite db.sqlite3 (default; use --migrate)" in text
    assert "postgres:" not in text
    assert not (program.folder / "db.sqlite3").exists()
    stop(process)


def test_a_project_without_a_database_and_without_a_broker(program: Program) -> None:
    """
    Plain Celery, no Django: no PostgreSQL, no migrations; the broker is ours, and said.
    """
    package = program.folder / "plain"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "celery.py").write_text("from celery import Celery\n\napp = Celery('plain')\n")

    process = program.start(*UP)
    output = Output(process)
    output.until("Up: prefork")

    text = "\n".join(output.seen)
    assert "broker: not set by the project; using ours through CELERY_BROKER_URL" in text
    assert {"CELERY_BROKER_URL"} == set(exports(output))
    assert "migrat" not in text
    assert not (program.folder / ".task-server" / "postgres").exists()
    stop(process)


def test_servers_that_are_named_and_away_are_reported_before_anything_starts(
    program: Program, project: Path
) -> None:
    """
    All of them, with the cures; exit 69. Nothing of ours takes their place.
    """
    (project / "settings.py").write_text(
        f"{SETTINGS}\nCELERY_BROKER_URL = 'redis://127.0.0.1:1/0'\n"
        "DATABASES = {'default': dict(ENGINE='django.db.backends.postgresql', NAME='cl',"
        " HOST='127.0.0.1', PORT=1)}\n"
    )

    ended = program(*UP)

    assert (69, {}) == (ended.returncode, program.alive())
    assert "2 servers of the project's settings cannot be used" in ended.stderr
    assert "nothing listens at 127.0.0.1:1" in ended.stderr
    assert "PostgreSQL at 127.0.0.1:1/cl refuses the connection" in ended.stderr


def test_a_setting_that_breaks_the_import_is_one_line(program: Program, project: Path) -> None:
    """
    Before any server is started; --traceback shows the rest.
    """
    path = project / "settings.py"
    path.write_text(f"{SETTINGS}TOKEN = os.environ['SITE1_TOKEN']\n")

    ended = program(*UP)
    shown = program(*UP, "--traceback")

    assert [78, 78] == [ended.returncode, shown.returncode]
    line = ended.stderr.splitlines()[-1]
    assert f"KeyError: 'SITE1_TOKEN' at {path}:6; set the variable SITE1_TOKEN" in line
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "Traceback" in shown.stdout


def test_an_import_that_hangs_is_ended_and_named(
    program: Program, project: Path, silent: int
) -> None:
    """
    Its own Redis does not answer: the line is named after `import_seconds`; exit 69.
    """
    path = project / "tasks.py"
    path.write_text(f"import redis\nredis.Redis(port={silent}).ping()\n")

    ended = program(*UP, TASK_SERVER_IMPORT_SECONDS="1")

    assert 69 == ended.returncode, ended.stderr
    assert f"for 1 s it has been at {path}:2" in ended.stderr
