"""PostgreSQL, Redis, both workers and the real documents, for the tests of docket."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dj_database_url
import django
import pytest
from django.conf import settings
from django.db import connection, connections

from docket.celery import app
from task_server import local
from tests.support.program import Output, Program

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "docket.settings")
django.setup()
# Other tests, and the programs that they start, are of other projects.
del os.environ["DJANGO_SETTINGS_MODULE"]

# Tight limits, so that the tests of slow and large things are short.
LIMITS = """
DOCKET_FETCH_BYTES = 5_000_000
DOCKET_FETCH_SECONDS = 10
DOCKET_FETCH_READ_SECONDS = 1
DOCKET_FETCH_BACKOFF_SECONDS = 0.05
DOCKET_READ_SECONDS = 5
DOCKET_MARGIN_SECONDS = 2
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where docket keeps its data in this test session, for child processes."""

    environ: dict[str, str]
    database_url: str
    broker_url: str
    media: Path


@pytest.fixture(scope="session")
def place(local_state, session_redis, session_postgres, tmp_path_factory) -> Place:
    """Return a database of docket's own on the session's servers, and a media folder."""
    folder = tmp_path_factory.mktemp("docket")
    postgres = local.postgres.find(local_state, os.environ, database="docket")
    private = folder / "20-test.py"
    private.write_text(LIMITS)
    media = folder / "media"
    # Its workers live as long as the session; in a Redis database of their own
    # they take the tasks of no other test.
    broker = session_redis.url.replace("virtual_host=0", "virtual_host=3")
    environ = {
        **os.environ,
        **session_redis.environ,
        **postgres.environ,
        "REDIS_URL": broker,
        "DJANGO_MEDIA_ROOT": str(media),
        "DJANGO_SETTINGS_MODULE": "docket.settings",
        "TASK_SERVER_SETTINGS_PATH": str(private),
        "PYTHONWARNINGS": "default",
        "PYTHONUNBUFFERED": "1",
    }
    return Place(environ, postgres.url, broker, media)


@pytest.fixture(scope="session")
def docket(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Return the command, its tables made, and Django in this process on the same servers."""
    with Program(tmp_path_factory.mktemp("docket"), place.environ, "docket") as command:
        migrated = command("migrate", "--verbosity", "0")
        assert (0, "") == (migrated.returncode, migrated.stderr)
        # Tests of other folders may have set up Django in this process before.
        connections.databases["default"].update(dj_database_url.parse(place.database_url))
        settings.MEDIA_ROOT = str(place.media)
        app.conf.broker_url = app.conf.result_backend = place.broker_url
        yield command


@pytest.fixture(scope="session")
def workers(docket: Program) -> Iterator[None]:
    """Run a prefork worker and a gevent worker, as Celery alone starts them."""
    with Program(docket.folder, docket.environ, "celery", one_pipe=True) as celery:
        prefork = ("-P", "prefork", "-c", "2", "-Q", "celery", "-n", "prefork@%h")
        gevent = ("-P", "gevent", "-c", "100", "-Q", "io_bound", "-n", "gevent@%h")
        outputs = [
            Output(celery.start("-A", "docket", "worker", "-l", "info", *pool))
            for pool in (prefork, gevent)
        ]
        for output in outputs:
            output.until(" ready.")
        yield


@pytest.fixture(autouse=True)
def current_app() -> None:
    """Send by docket's app: whichever app was made last is Celery's current one."""
    app.set_current()


@pytest.fixture
def job(docket: Program):
    """Return a function that makes a job in the database, of a new document."""
    # Models can be imported once Django is set up, at the top of this file.
    from docket.models import Document, Job  # noqa: PLC0415

    def job(url: str = "http://127.0.0.1:1/", **fields: object) -> Job:
        source = f"http://example.org/{uuid.uuid4()}"
        document = Document.objects.create(source=source, name="a.pdf")
        return Job.objects.create(document=document, batch=uuid.uuid4(), url=url, **fields)

    yield job
    connection.close()
