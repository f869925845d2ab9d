"""The servers that a project's settings name; real servers, made-up projects."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from task_server import local
from task_server.config.model import Config
from task_server.errors import ConfigError, LocalServerError, PeerError
from task_server.local.discovery.discover import Discovery
from task_server.local.discovery.plan import plan_servers
from task_server.local.discovery.protocol import Answer
from task_server.local.servers import cluster
from tests.support.ports import own_port
from tests.support.site import CELERY, SETTINGS

ENVIRON = {
    name: value
    for name, value in os.environ.items()
    if name not in ("DJANGO_SETTINGS_MODULE", "PYTHONPATH")
}


@pytest.fixture
def state(tmp_path: Path) -> local.State:
    return local.State.open(tmp_path / "state")


@pytest.fixture
def supervisor() -> Iterator[local.Supervisor]:
    with local.Supervisor(io.StringIO(), signals=False) as running:
        yield running


@pytest.fixture
def discover(
    tmp_path: Path, state: local.State, supervisor: local.Supervisor
) -> Callable[..., Answer]:
    """Discover the servers of a Django project with these settings in an environment."""
    package = tmp_path / "code" / "site1"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "celery.py").write_text(CELERY)

    def discover_project(settings: str, tasks: str = "", **environ: str) -> Answer:
        (package / "settings.py").write_text(SETTINGS + settings)
        (package / "tasks.py").write_text(tasks)
        config = Config(app="site1", code=str(package.parent), import_seconds=20)
        discovery = Discovery(config, state, {**ENVIRON, **environ}, database="site1")
        return discovery.run(supervisor)

    return discover_project


@pytest.fixture
def closed() -> int:
    """Return a port on which no program listens."""
    return own_port()


def postgres_settings(server: local.Server, alias: str = "default", **more: Any) -> str:
    """Return settings that name the database of *server* themselves."""
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": server.environ["PGDATABASE"],
        "USER": server.environ["PGUSER"],
        "HOST": server.environ["PGHOST"],
        "PORT": server.environ["PGPORT"],
        **more,
    }
    return f"DATABASES = {{{alias!r}: {database!r}}}\n"


@pytest.fixture
def production(session_postgres: local.Server, postgres_server: local.Server) -> local.Server:
    """Return a PostgreSQL that is not ours, with a database of this test alone."""
    variables = postgres_server.environ
    cluster.ensure_database(variables, variables["PGDATABASE"])
    return postgres_server


def test_what_is_named_and_answers_needs_nothing_of_ours(
    discover: Callable[..., Answer], production: local.Server, redis_server: local.Server
) -> None:
    """
    The case of the issue: settings that do not read a variable; broker and results stay together.
    """
    answer = discover(
        postgres_settings(production)
        + f"CELERY_BROKER_URL = CELERY_RESULT_BACKEND = {redis_server.url!r}\n"
    )

    plan = plan_servers(answer)
    assert (False, False, ()) == (plan.redis, plan.postgres, plan.variables)
    assert [redis_server.url] == [one.url for one in answer.brokers]
    assert answer.results is not None
    assert redis_server.url == answer.results.url
    name, host = production.environ["PGDATABASE"], production.environ["PGHOST"]
    assert [f"PostgreSQL {name} at {host}:5432"] == [str(one) for one in answer.databases]


def test_what_is_named_and_does_not_answer_is_reported_at_once(
    discover: Callable[..., Answer], closed: int
) -> None:
    """
    Broker, results and database, each with its cure; exit 69, and nothing is started instead.
    """
    with pytest.raises(PeerError) as caught:
        discover(
            f"CELERY_BROKER_URL = 'redis://:hunter2@127.0.0.1:{closed}/1'\n"
            f"CELERY_RESULT_BACKEND = 'redis://127.0.0.1:{closed}/2'\n"
            "DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql', 'NAME': 'cl',"
            f" 'HOST': '127.0.0.1', 'PORT': {closed}}}}}\n"
        )

    text = str(caught.value)
    assert "3 servers of the project's settings cannot be used" in text
    assert f"broker (CELERY_BROKER_URL): nothing listens at 127.0.0.1:{closed}" in text
    assert f"results (CELERY_RESULT_BACKEND): nothing listens at 127.0.0.1:{closed}" in text
    assert f"DATABASES['default']: PostgreSQL at 127.0.0.1:{closed}/cl refuses the conn" in text
    assert "os.environ: REDIS_URL" in text
    assert "hunter2" not in text


def test_a_database_that_is_not_there_is_a_mistake(
    discover: Callable[..., Answer], production: local.Server
) -> None:
    """
    The server answers, so that to start it again does not help: 78.
    """
    with pytest.raises(ConfigError) as caught:
        discover(postgres_settings(production, NAME="absent") + "CELERY_BROKER_URL = 'memory://'\n")

    assert "has no database 'absent'; create it" in str(caught.value)


URL = "os.environ['DATABASE_URL']"
ENGINE = "ENGINE='django.db.backends.postgresql'"


#: Settings, and the variables of PostgreSQL that they take.
TAKEN = {
    "url": (f"DATABASES = {{'default': dj_database_url.parse({URL})}}", "DATABASE_URL"),
    "or-sqlite": (
        "DATABASES = {'default': dj_database_url.config(default='sqlite:///x.sqlite3')}",
        "DATABASE_URL",
    ),
    "libpq": (
        f"DATABASES = {{'default': dict({ENGINE}, NAME=os.environ['PGDATABASE'])}}",
        "PGHOST PGPORT PGUSER PGDATABASE",
    ),
    "parts": (
        f"DATABASES = {{'default': dict({ENGINE}, NAME='other', HOST=os.environ['PGHOST'])}}",
        "PGHOST PGPORT PGUSER PGDATABASE",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TAKEN)
@pytest.mark.parametrize("broker", ["REDIS_URL", "CELERY_BROKER_URL"])
def test_what_is_taken_from_the_environment_is_ours(
    kind: str, broker: str, discover: Callable[..., Answer]
) -> None:
    """
    Nothing runs yet, and nothing is connected to; the variables that are taken are known.
    """
    settings, variables = TAKEN[kind]
    answer = discover(
        f"import dj_database_url\n{settings}\nCELERY_BROKER_URL = os.environ[{broker!r}]\n"
    )

    plan = plan_servers(answer)
    assert (True, True) == (plan.redis, plan.postgres)
    assert {broker, *variables.split()} == set(plan.variables)
    assert ("other" if "other" in settings else "site1",) == plan.databases


def test_a_database_that_happens_to_be_called_like_the_project_is_its_own(
    discover: Callable[..., Answer],
) -> None:
    """
    Without a host, it is the server that libpq finds; ours is not put in its place.
    """
    with pytest.raises(PeerError) as caught:
        discover(
            "DATABASES = {'default': dict(ENGINE='django.db.backends.postgresql', NAME='site1',"
            " OPTIONS={'host': '/absent'})}\nCELERY_BROKER_URL = 'memory://'\n"
        )

    assert "DATABASES['default']" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ("", []),
        ("DATABASES = {}\n", []),
        (
            "DATABASES = {'default': dict(ENGINE='django.db.backends.sqlite3', NAME='absent.db')}",
            ["SQLite absent.db"],
        ),
    ],
    ids=["none", "empty", "sqlite"],
)
def test_sqlite_and_no_database_need_no_postgres(
    settings: str, lines: list[str], discover: Callable[..., Answer]
) -> None:
    """
    The file of SQLite is not even made.
    """
    answer = discover(
        f"{settings}\nCELERY_BROKER_URL = os.environ.get('REDIS_URL', 'redis://db/0')\n"
    )

    assert [False, lines] == [plan_servers(answer).postgres, [str(one) for one in answer.databases]]
    assert not Path("absent.db").exists()


def test_several_databases_are_distinguished(
    discover: Callable[..., Answer], production: local.Server
) -> None:
    """
    One of ours, one of its own, a mirror, and a second name of the first.
    """
    settings = postgres_settings(production, "production")
    answer = discover(
        f"import dj_database_url\n{settings}"
        f"DATABASES['default'] = dj_database_url.parse({URL})\n"
        "DATABASES['again'] = dict(DATABASES['default'])\n"
        "DATABASES['replica'] = {**DATABASES['production'], 'TEST': {'MIRROR': 'production'}}\n"
        "CELERY_BROKER_URL = 'memory://'\n"
    )

    assert {
        "default": ("site1", True, ""),
        "again": ("site1", True, "default"),
        "production": (production.environ["PGDATABASE"], False, ""),
        "replica": (production.environ["PGDATABASE"], False, "production"),
    } == {one.alias: (one.name, bool(one.variables), one.same_as) for one in answer.databases}


def test_psycopg_3_is_asked_as_well(
    discover: Callable[..., Answer], production: local.Server, psycopg3: Path
) -> None:
    """
    Where psycopg2 is not installed, Django takes psycopg 3; its pool is left alone.
    """
    answer = discover(
        f"import sys\nsys.path.insert(0, {str(psycopg3)!r})\nsys.modules['psycopg2'] = None\n"
        + postgres_settings(production, OPTIONS={"pool": {"min_size": 4}})
        + "CELERY_BROKER_URL = 'memory://'\n"
    )

    assert [()] == [one.variables for one in answer.databases]


@pytest.mark.parametrize(
    ("settings", "urls"),
    [
        (
            "CELERY_BROKER_READ_URL = 'memory://a'\nCELERY_BROKER_WRITE_URL = 'memory://b'",
            ["memory://b", "memory://a"],
        ),
        ("CELERY_BROKER_URL = ['memory://a', 'memory://b']", ["memory://a;memory://b"]),
    ],
    ids=["two", "alternates"],
)
def test_ways_to_name_a_broker(
    settings: str, urls: list[str], discover: Callable[..., Answer]
) -> None:
    """
    One to read from and one to write to, or a list.
    """
    assert urls == [one.url for one in discover(settings).brokers]


def test_a_redis_url_that_is_given_is_the_broker_if_no_setting_names_one(
    discover: Callable[..., Answer], redis_server: local.Server
) -> None:
    """
    It is tried, and Celery gets it; no Redis is started.
    """
    answer = discover("", REDIS_URL=redis_server.url)

    assert [("REDIS_URL", "CELERY_BROKER_URL")] == [
        (one.setting, one.variable) for one in answer.brokers
    ]
    assert ("CELERY_BROKER_URL",) == plan_servers(answer).variables


def test_a_redis_url_that_is_given_is_what_celerys_own_variables_stand_for(
    discover: Callable[..., Answer], redis_server: local.Server, closed: int
) -> None:
    """
    Settings that want CELERY_BROKER_URL get the Redis that REDIS_URL names; it is tried, too.
    """
    settings = (
        "CELERY_BROKER_URL = os.environ['CELERY_BROKER_URL']\n"
        "CELERY_RESULT_BACKEND = os.environ['CELERY_RESULT_BACKEND']\n"
    )

    answer = discover(settings, REDIS_URL=redis_server.url)

    both = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")
    assert [redis_server.url] == [one.url for one in answer.brokers]
    assert both == plan_servers(answer).variables
    with pytest.raises(PeerError, match="2 servers"):
        discover(settings, REDIS_URL=f"redis://127.0.0.1:{closed}/0")


def test_celerys_own_variable_wins_over_the_settings(
    discover: Callable[..., Answer], closed: int
) -> None:
    """
    As it does in the worker.
    """
    with pytest.raises(PeerError) as caught:
        discover(
            "CELERY_BROKER_URL = 'memory://'", CELERY_BROKER_URL=f"redis://127.0.0.1:{closed}/0"
        )

    assert f"broker (CELERY_BROKER_URL): nothing listens at 127.0.0.1:{closed}" in str(caught.value)


def test_an_import_that_needs_our_redis_is_helped_to_it(
    discover: Callable[..., Answer], state: local.State
) -> None:
    """
    Tasks that need Redis while they are imported: ours is started, and the import repeated.
    """
    answer = discover(
        "CELERY_BROKER_URL = os.environ['REDIS_URL']\n",
        "import os, redis\nredis.Redis.from_url(os.environ['REDIS_CLIENT_URL']).ping()\n",
    )

    assert ("REDIS_URL", "REDIS_CLIENT_URL") == plan_servers(answer).variables
    assert not (state.path / "postgres").exists()


def test_settings_that_our_socket_breaks_are_asked_without_it(
    discover: Callable[..., Answer], redis_server: local.Server
) -> None:
    """
    Who takes REDIS_URL apart finds no port in it; what is named without it is used.
    """
    answer = discover(
        "from urllib.parse import urlsplit\n"
        "parts = urlsplit(os.environ.get('REDIS_URL', 'redis://127.0.0.1:1/0'))\n"
        "assert parts.port\n"
        f"CELERY_BROKER_URL = {redis_server.url!r}\n"
    )

    assert (False, ()) == (plan_servers(answer).redis, plan_servers(answer).variables)


#: Ways to read a file .env, in which the environment wins: django-environ's, and python-dotenv's.
FILES = {
    "environ": "os.environ.setdefault('REDIS_URL', {url!r})\n",
    "dotenv": (
        "import sys\nsys.modules['dotenv'] = sys\n"
        "if 'REDIS_URL' not in os.environ:\n    os.environ['REDIS_URL'] = {url!r}\n"
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_what_the_projects_own_file_of_variables_names_is_named(
    kind: str, discover: Callable[..., Answer], redis_server: local.Server
) -> None:
    """
    Its web process reads that file and not our variables, and has to send to the same Redis.
    """
    answer = discover(
        f"{FILES[kind].format(url=redis_server.url)}"
        "CELERY_BROKER_URL = os.environ['REDIS_URL']\n"
        "CELERY_RESULT_BACKEND = os.environ['CELERY_RESULT_BACKEND']\n"
    )

    assert [redis_server.url] == [one.url for one in answer.brokers]
    assert ("CELERY_RESULT_BACKEND",) == plan_servers(answer).variables


def test_who_copies_the_environment_takes_nothing_from_it(
    discover: Callable[..., Answer], redis_server: local.Server
) -> None:
    """
    A library that keeps the environment reads every variable, and none for itself.
    """
    answer = discover(
        f"KEPT = dict(os.environ), os.environ.copy()\nCELERY_BROKER_URL = {redis_server.url!r}\n"
    )

    assert () == plan_servers(answer).variables


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("os.environ['ABSENT']", "set the variable ABSENT"),
        ("import absent_library", "install absent_library"),
        ("raise SystemExit(3)", "sys.exit(3)"),
        (
            "import os\nos._exit(7)",
            "its import ended the process (exit 7)",
        ),
    ],
)
def test_a_project_that_cannot_be_imported_is_reported_as_by_a_worker(
    text: str, words: str, discover: Callable[..., Answer]
) -> None:
    """
    One line with the place, before anything is started.
    """
    with pytest.raises(Exception, match="site1") as caught:
        discover(f"{text}\n")

    assert words in str(caught.value)


def test_what_the_project_prints_is_no_answer(discover: Callable[..., Answer]) -> None:
    """
    Prints to standard output, also of programs it starts, do not get in the way.
    """
    answer = discover(
        "import subprocess\nprint('{}')\nsubprocess.run(['echo', '{}'])\n"
        "CELERY_BROKER_URL = 'memory://'\n"
    )

    assert ["memory://"] == [one.url for one in answer.brokers]


def test_a_project_without_django(
    tmp_path: Path, state: local.State, supervisor: local.Supervisor
) -> None:
    """
    A single module, no settings: the broker is ours, and there is no database.
    """
    (tmp_path / "proj.py").write_text("from celery import Celery\napp = Celery('proj')\n")
    config = Config(app="proj", code=str(tmp_path))

    answer = Discovery(config, state, ENVIRON, database="proj").run(supervisor)

    assert (False, (), ()) == (answer.django, answer.brokers, answer.databases)
    assert ("CELERY_BROKER_URL",) == plan_servers(answer).variables


def test_a_database_is_made_with_the_driver_that_the_project_has(
    postgres_server: local.Server, monkeypatch: pytest.MonkeyPatch, psycopg3: Path
) -> None:
    """
    psycopg2 or psycopg 3; without either the line says what to install.
    """
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    # Nor is it there for other tests.
    monkeypatch.delitem(sys.modules, "psycopg", raising=False)
    monkeypatch.syspath_prepend(psycopg3)
    variables, name = postgres_server.environ, postgres_server.environ["PGDATABASE"]
    for _ in range(2):
        cluster.ensure_database(variables, name)

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LocalServerError) as caught:
        cluster.ensure_database(variables, name)

    assert "neither psycopg2 nor psycopg is installed" in str(caught.value)


SCHEDULES_LATE = """
from site1.celery import app


@app.on_after_finalize.connect
def add(sender, **_):
    sender.add_periodic_task(60, sender.signature("a"))
"""


@pytest.mark.parametrize(
    ("settings", "tasks", "features"),
    [
        ("", "", ()),
        ("CELERY_BEAT_SCHEDULE = {'a': {'task': 'a', 'schedule': 60}}\n", "", ("schedule",)),
        (
            "CELERY_BEAT_SCHEDULER = 'django_celery_beat.schedulers:DatabaseScheduler'\n",
            "",
            ("schedule",),
        ),
        (
            "",
            SCHEDULES_LATE,
            ("schedule",),
        ),
    ],
    ids=["none", "settings", "database", "signal"],
)
def test_a_schedule_is_a_feature(
    settings: str, tasks: str, features: tuple[str, ...], discover: Callable[..., Answer]
) -> None:
    """
    So `up` starts a service that exists for it, and does not where there is none.
    """
    assert features == discover(settings, tasks).features


def test_the_code_is_what_nobody_installed(discover: Callable[..., Answer]) -> None:
    """
    The project's package, not Django's or Python's: these are the files that are watched.
    """
    assert ["site1"] == [Path(folder).name for folder in discover("").code]
