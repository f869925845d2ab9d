"""`task-server migrations wait` ends when the databases have what the code needs, not before."""

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from task_server import local
from tests.support.ports import own_port
from tests.support.program import Output, Program
from tests.support.site import write_site

SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["site1"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
"""

SQLITE = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
"""

#: The migrations of site1, by name: what each depends on, and what it does.
FIRST = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = []
    operations = [
        migrations.CreateModel("Case", [("id", models.AutoField(primary_key=True))])
    ]
"""


def later(*names: str, replaces: str = "[]", operations: str = "[]") -> str:
    """Return the text of a migration that comes after those of *names*."""
    after = [("site1", name) for name in names]
    return f"""
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = {replaces}
    dependencies = {after!r}
    operations = {operations}
"""


TWO = {"0001_initial": FIRST, "0002_more": later("0001_initial")}

MODELS = """
from django.db import models


class Case(models.Model):
    pass
"""

Site = Callable[..., Program]


def write_migrations(package: Path, migrations: dict[str, str]) -> None:
    """Have *migrations*, and no others, in *package*."""
    folder = package / "migrations"
    folder.mkdir(exist_ok=True)
    for file in folder.glob("*.py"):
        file.unlink()
    (folder / "__init__.py").touch()
    for name, text in migrations.items():
        (folder / f"{name}.py").write_text(text)


@pytest.fixture
def site(program: Program) -> Site:
    """Return the program in the folder of a project with the databases and migrations given."""

    def made(databases: str = SQLITE, migrations: dict[str, str] = TWO) -> Program:
        package = write_site(program.folder, SETTINGS + databases)
        (package / "models.py").write_text(MODELS)
        write_migrations(package, migrations)
        program.environ = {**program.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        return program

    return made


def migrate(program: Program, *arguments: str) -> None:
    """Apply the migrations, as a Job does."""
    ended = program("manage", "migrate", "--no-input", *arguments)
    assert 0 == ended.returncode, ended.stderr


def of_postgres(server: local.Server, name: str = "", **more: object) -> str:
    """Return settings that name the database of *server*, or another of it."""
    row = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name or server.environ["PGDATABASE"],
        "USER": server.environ["PGUSER"],
        "HOST": server.environ["PGHOST"],
        "PORT": server.environ["PGPORT"],
        **more,
    }
    return f"DATABASES = {{'default': {row!r}}}\n"


def ends_when_migrated(program: Program, name: str = "default") -> None:
    """It waits, and says for what, until the migrations are applied."""
    waiting = program.start("migrations", "wait")
    line = Output(waiting, waiting.stderr).until("waiting")
    was_running = waiting.poll() is None
    migrate(program)
    stdout = waiting.stdout.read()  # type: ignore[union-attr]

    assert was_running
    assert f"2 migrations are not applied in the database '{name}'" in line
    assert "(site1.0001_initial, site1.0002_more)" in line
    assert (0, f"all migrations are applied ({name})\n") == (waiting.wait(), stdout)
    assert 0 == program("migrations", "wait", "--timeout", "0").returncode


def test_it_ends_when_the_migrations_are_applied_in_sqlite(site: Site) -> None:
    """
    A file that is not there yet is waited for, and not made.
    """
    program = site()
    before = program("migrations", "wait", "--timeout", "0")

    assert 69 == before.returncode
    assert "there is no file" in before.stderr
    assert not (program.folder / "db.sqlite3").exists()
    (program.folder / "db.sqlite3").touch()
    ends_when_migrated(program)


def test_it_ends_when_they_are_applied_in_postgresql_through_psycopg_2(
    site: Site, postgres_server: local.Server
) -> None:
    """
    Django takes psycopg 3 where that is installed too; here it is not.
    """
    hidden = "import sys\nsys.modules['psycopg'] = None\n"

    ends_when_migrated(site(hidden + of_postgres(postgres_server)))


def test_it_ends_when_they_are_applied_in_postgresql_through_psycopg_3(
    site: Site, postgres_server: local.Server, psycopg3: Path
) -> None:
    """
    The pool of the project's settings is left alone: it would keep threads.
    """
    first = f"import sys\nsys.path.insert(0, {str(psycopg3)!r})\nsys.modules['psycopg2'] = None\n"

    ends_when_migrated(
        site(first + of_postgres(postgres_server, OPTIONS={"pool": {"min_size": 2}}))
    )


def test_a_database_that_is_made_later_is_waited_for(
    site: Site, postgres_server: local.Server
) -> None:
    """
    Whatever PostgreSQL answers meanwhile is said, and ends nothing.
    """
    name = f"{postgres_server.environ['PGDATABASE']}_later"
    program = site(of_postgres(postgres_server, name))
    waiting = program.start("migrations", "wait")
    line = Output(waiting, waiting.stderr).until("waiting")
    with closing(psycopg2.connect(postgres_server.client_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
            migrate(program)
            code = waiting.wait(120)
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")

    assert f"has no database '{name}'" in line
    assert 0 == code


def test_a_database_that_does_not_answer_ends_the_wait_with_69(site: Site) -> None:
    """
    The last word is why, and no traceback.
    """
    row = {"ENGINE": "django.db.backends.postgresql", "NAME": "x", "USER": "x"}
    row |= {"HOST": "127.0.0.1", "PORT": str(own_port())}
    program = site(f"DATABASES = {{'default': {row!r}}}\n")

    ended = program("migrations", "wait", "--timeout", "1")

    assert 69 == ended.returncode
    assert "waiting" in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("Error: After 1 s: PostgreSQL at 127.0.0.1:")
    assert "refuses the connection" in last


def test_what_is_not_applied_in_time_is_named_with_what_to_do(site: Site) -> None:
    """
    With six of them five are named.
    """
    names = [f"000{number}_x" for number in range(1, 7)]
    texts = [FIRST, *(later(before) for before in names[:-1])]
    program = site(migrations=dict(zip(names, texts, strict=True)))
    migrate(program, "site1", "zero")

    ended = program("migrations", "wait", "--timeout", "0")

    assert 1 == ended.returncode
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(
        "Error: After 0 s 6 migrations are not applied in the database 'default'"
    )
    assert "site1.0005_x and 1 more)" in last
    assert "task-server manage migrate" in last


ROUTED = """
DATABASES = {
    name: {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{name}.sqlite3"}
    for name in ("default", "cases", "legacy")
}
DATABASE_ROUTERS = ["site1.routers.Router"]
"""

ROUTER = """
class Router:
    def allow_migrate(self, db, app_label, model_name=None, **hints):
        return db == ("cases" if app_label == "site1" else "default")
"""


def test_with_routers_each_database_counts_that_has_a_table(site: Site) -> None:
    """
    One in which they allow nothing does not: nobody migrates it.
    """
    program = site(ROUTED)
    (program.folder / "site1" / "routers.py").write_text(ROUTER)
    settings = program.folder / "site1" / "settings.py"
    text = settings.read_text().replace('["site1"]', '["django.contrib.contenttypes", "site1"]')
    settings.write_text(text)
    migrate(program)
    (program.folder / "cases.sqlite3").touch()

    before = program("migrations", "wait", "--timeout", "0")
    of_default = program("migrations", "wait", "--timeout", "0", "--database", "default")
    unknown = program("migrations", "wait", "--timeout", "0", "--database", "elsewhere")
    migrate(program, "--database", "cases")
    after = program("migrations", "wait", "--timeout", "0")

    assert 1 == before.returncode
    assert "2 migrations are not applied in the database 'cases'" in before.stderr
    assert "'default'" not in before.stderr
    assert 0 == of_default.returncode, of_default.stderr
    assert 78 == unknown.returncode
    assert "'elsewhere' is none of the project's databases" in unknown.stderr
    assert (0, "all migrations are applied (default, cases)\n") == (after.returncode, after.stdout)


def test_migrations_that_were_squashed_or_are_beyond_the_code_are_no_obstacle(site: Site) -> None:
    """
    A new version has one in the place of two; an old worker sees what it does not know.
    """
    program = site()
    migrate(program)
    package = program.folder / "site1"
    two = "[('site1', '0001_initial'), ('site1', '0002_more')]"
    squashed = later(replaces=two, operations=FIRST.partition("operations = ")[2])

    write_migrations(package, {**TWO, "0001_squashed_0002_more": squashed})
    new = program("migrations", "wait", "--timeout", "0")
    write_migrations(package, {"0001_initial": FIRST})
    old = program("migrations", "wait", "--timeout", "0")

    assert 0 == new.returncode, new.stderr
    assert 0 == old.returncode, old.stderr


def test_a_history_that_contradicts_itself_ends_at_once(site: Site) -> None:
    """
    Waiting does not help: exit 78, with what to do.
    """
    program = site()
    migrate(program)
    with closing(sqlite3.connect(program.folder / "db.sqlite3")) as database:
        database.execute("DELETE FROM django_migrations WHERE name = '0001_initial'")
        database.commit()

    ended = program("migrations", "wait")

    assert 78 == ended.returncode
    assert "Migration site1.0002_more is applied before its dependency" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("added", "words"),
    [
        ({"0002_other": later("0001_initial")}, "run `makemigrations --merge`"),
        ({"0003_lost": later("0002_absent")}, "correct the project's migrations"),
        ({"0003_broken": "from nowhere import it"}, "No module named 'nowhere'"),
    ],
    ids=["two ends", "no dependency", "no module"],
)
def test_migrations_that_contradict_each_other_end_at_once(
    site: Site, added: dict[str, str], words: str
) -> None:
    """
    `migrate` refuses them as well, so nobody will ever apply them.
    """
    program = site()
    migrate(program)
    write_migrations(program.folder / "site1", {**TWO, **added})

    ended = program("migrations", "wait")

    assert 78 == ended.returncode
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_project_without_a_database_has_nothing_to_wait_for(site: Site) -> None:
    """
    Django without DATABASES, and a project that is no Django project at all.
    """
    program = site("")
    of_django = program("migrations", "wait")
    (program.folder / "plain.py").write_text("from celery import Celery\n\napp = Celery('plain')\n")

    plain = program("migrations", "wait", "--app", "plain")

    words = "the project has no database: no migrations to wait for\n"
    assert [(0, words)] * 2 == [(one.returncode, one.stdout) for one in (of_django, plain)]


def test_sigterm_ends_it_though_it_waits(site: Site) -> None:
    """
    As PID 1 of a container it would ignore what has no handler.
    """
    program = site()
    waiting = program.start("migrations", "wait")
    Output(waiting, waiting.stderr).until("waiting")

    waiting.send_signal(signal.SIGTERM)

    assert 128 + signal.SIGTERM == waiting.wait(60)
