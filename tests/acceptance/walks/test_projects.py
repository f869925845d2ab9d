"""From the installation to a task on both workers, for projects of several kinds."""

from contextlib import closing

import psycopg2
import pytest
import redis as redis_client

from task_server import local
from tests.acceptance.walks import shop
from tests.acceptance.walks.conftest import Walk
from tests.support.wait import until


def databases(server: local.Server) -> set[tuple[str, ...]]:
    """Return the databases of *server*, and the tables of the one that its URL names."""
    with closing(psycopg2.connect(server.client_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 'database', datname FROM pg_database")
        found = set(cursor.fetchall())
        cursor.execute("SELECT 'table', relname FROM pg_class WHERE relnamespace > 16384")
        return found | set(cursor.fetchall())


def untouched(walk: Walk, *own: str) -> None:
    """Check that the home is empty, and that nothing is in the project but its own and ours."""
    assert [] == list(walk.home.iterdir())
    assert {"task-server.toml", "done.txt", *own} == shop.files(walk.folder)


PROJECT = ("manage.py", *(f"shop/{one}.py" for one in ("__init__", "celery", "settings", "tasks")))


# The README's lines are such a project, too.
@pytest.mark.slow
def test_sqlite(walk: Walk) -> None:
    """
    Redis is started here, since the settings read a variable; the database is left alone.
    """
    shop.make(walk.folder, shop.REDIS_URL + shop.SQLITE)

    said = walk.says("task-server init")
    checked = walk.says("task-server check")
    up = walk.up()
    shop.runs_on_both(up, walk.folder / "done.txt")
    up.stop()

    assert "broker: redis, set by CELERY_BROKER_URL, read from REDIS_URL" in said
    assert f"SQLite, set by DATABASES['default'] ({walk.folder / 'db.sqlite3'})" in said
    assert "0 errors" in checked
    assert "postgres:" not in up.text
    assert {"REDIS_URL"} == set(up.exports)
    untouched(walk, *PROJECT)


def test_no_database_and_no_broker(walk: Walk) -> None:
    """
    Plain Celery without Django: `check` says what is missing, and `up` has it.
    """
    package = walk.folder / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "celery.py").write_text(
        "from celery import Celery\n\napp = Celery('shop', include=['shop.tasks'])\n"
    )
    (package / "tasks.py").write_text(shop.TASKS)

    said = walk.says("task-server init")
    checked = walk("task-server check")
    up = walk.up()
    shop.runs_on_both(up, walk.folder / "done.txt")
    up.stop()

    assert "app: shop, found by the only package of" in said
    assert "broker: none is named; `task-server up` starts a Redis" in said
    assert 78 == checked.returncode
    assert "set TASK_SERVER_BROKER_URL" in checked.stdout
    assert "broker: not set by the project; using ours" in up.text
    untouched(walk, *(f"shop/{one}.py" for one in ("__init__", "celery", "tasks")))


@pytest.mark.slow
def test_postgresql_that_the_projects_own_variables_name(
    walk: Walk, postgres_server: local.Server, redis_server: local.Server
) -> None:
    """
    The server is used, neither migrated nor given a database; a Redis that is not named, and runs
    beside it, sees nobody.
    """
    local.servers.cluster.ensure_database(
        postgres_server.environ, postgres_server.environ["PGDATABASE"]
    )
    names = {key: postgres_server.environ[f"PG{key}"] for key in ("HOST", "PORT", "USER")}
    names["NAME"] = postgres_server.environ["PGDATABASE"]
    walk.environ = {**walk.environ, **{f"SHOP_DB_{key}": value for key, value in names.items()}}
    entries = "".join(f"    '{key}': os.environ['SHOP_DB_{key}'],\n" for key in names)
    shop.make(
        walk.folder,
        f"{shop.REDIS_URL}DATABASES = {{'default': {{\n"
        f"    'ENGINE': 'django.db.backends.postgresql',\n{entries}}}}}\n",
    )
    with closing(redis_client.Redis.from_url(redis_server.client_url)) as beside:
        beside.set("theirs", "1")
        before = databases(postgres_server)

        said = walk.says("task-server init")
        walk.says("task-server check")
        up = walk.up()
        shop.runs_on_both(up, walk.folder / "done.txt")
        up.stop()

        assert [b"theirs"] == beside.keys()
    where = ", ".join(f"SHOP_DB_{key}" for key in names)
    assert f"PostgreSQL, set by DATABASES['default'], read from {where}" in said
    assert "SHOP_DB_HOST" in (walk.folder / "task-server.toml").read_text()
    assert "set by the project" in up.text
    assert "not migrated" in up.text
    assert before == databases(postgres_server)
    untouched(walk, *PROJECT)


@pytest.mark.slow
def test_a_broker_that_the_settings_name_and_that_runs(
    walk: Walk, redis_server: local.Server
) -> None:
    """
    It is used, nothing is started, and keys that are not of these queues stay.
    """
    with closing(redis_client.Redis.from_url(redis_server.client_url)) as client:
        client.set("theirs", "1")
        client.lpush("another-queue", "a message")
        shop.make(walk.folder, f"CELERY_BROKER_URL = {redis_server.url!r}\n{shop.SQLITE}")

        said = walk.says("task-server init")
        walk.says("task-server check")
        up = walk.up()
        shop.runs_on_both(up, walk.folder / "done.txt")
        up.stop()

        assert b"1" == client.get("theirs")
        assert [b"a message"] == client.lrange("another-queue", 0, -1)
        assert client.ping()
    assert "broker: redis, set by CELERY_BROKER_URL (" in said
    assert f"broker: {redis_server.url}, set by CELERY_BROKER_URL" in up.text
    assert {} == up.exports
    assert not (walk.folder / ".task-server" / "redis").exists()
    untouched(walk, *PROJECT)


@pytest.mark.slow
def test_a_project_in_a_folder_of_a_repository(walk: Walk) -> None:
    """
    Everything is called at the root of the repository.
    """
    code = walk.folder / "services" / "shop"
    shop.make(code, shop.REDIS_URL)
    (walk.folder / "web").mkdir()
    (walk.folder / "web" / "package.json").write_text("{}")

    said = walk.says("task-server init")
    walk.says("task-server check")
    up = walk.up()
    shop.runs_on_both(up, walk.folder / "done.txt", code="services/shop")
    up.stop()

    assert "code: services/shop, put on PYTHONPATH" in said
    assert 'code = "services/shop"' in (walk.folder / "task-server.toml").read_text()
    untouched(walk, *(f"services/shop/{one}" for one in PROJECT), "web/package.json")


@pytest.mark.slow
def test_forty_queues(walk: Walk) -> None:
    """
    They are one word in the file, and all of them have a worker, those from calls too.
    """
    shop.make(walk.folder, shop.REDIS_URL)
    routes = {f"shop.tasks.of_{number}": {"queue": f"batch{number}"} for number in range(30)}
    with (walk.folder / "shop" / "settings.py").open("a") as file:
        file.write(f"CELERY_TASK_ROUTES = {routes!r}\n")
    calls = "".join(f"    add.apply_async((1, 2), queue='sent{number}')\n" for number in range(10))
    with (walk.folder / "shop" / "tasks.py").open("a") as file:
        file.write(f"\n\ndef send():\n{calls}")

    said = walk.says("task-server init")
    checked = walk.says("task-server check")
    up = walk.up()
    walk.says(
        'python -c "from shop.celery import app; from shop.tasks import add; send = '
        "add.apply_async; send((1, 1), queue='batch29'); send((2, 1), queue='sent9')\"",
        **up.exports,
        PYTHONPATH=".",
    )
    done = walk.folder / "done.txt"
    wanted = {"2 prefork", "3 prefork"}
    until(lambda: done.exists() and wanted == set(done.read_text().splitlines()))
    up.stop()

    text = (walk.folder / "task-server.toml").read_text()
    assert "queues: 41 queues of 1 task" in said
    assert "batch7" not in text
    assert text.count('queues = "all"') == 1
    assert "no worker consumes" not in checked
    untouched(walk, *PROJECT)


def test_a_named_server_that_is_away_is_said_and_nothing_is_started(walk: Walk) -> None:
    """
    `init` needs none; `up` names it, and starts nothing in its place.
    """
    shop.make(walk.folder, "CELERY_BROKER_URL = 'redis://127.0.0.1:1/0'\n")

    said = walk.says("task-server init")
    done = walk("task-server up --flower-port 0")

    assert "(redis://127.0.0.1:1/0)" in said
    assert 69 == done.returncode
    assert "nothing listens at 127.0.0.1:1" in done.stderr
    assert {} == walk.left()
