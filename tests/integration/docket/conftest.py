"""PostgreSQL, Redis, both workers and the real documents, for the tests of docket."""

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dj_database_url
import django
import pytest
from django.conf import settings
from django.db import connection, connections

from docket.celery import app
from task_server import local

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "docket.settings")
django.setup()
# Nobody else's tests, nor their children, are of docket.
del os.environ["DJANGO_SETTINGS_MODULE"]

# Tight limits, so that the tests of slow and large things are short.
LIMITS = """
DOCKET_FETCH_BYTES = 5_000_000
DOCKET_FETCH_SECONDS = 3
DOCKET_FETCH_READ_SECONDS = 1
DOCKET_FETCH_BACKOFF_SECONDS = 0.05
DOCKET_READ_SECONDS = 5
DOCKET_MARGIN_SECONDS = 2
"""


class Child:
    """A child process whose output is kept, and waited for by its lines."""

    def __init__(self, argv: list[str], environ: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            argv,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, text: str, timeout: float = 60) -> None:
        """Wait until a line holds *text*; fail with the output if none does."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or any(text in line for line in self.lines), timeout
            )
            if not any(text in line for line in self.lines):
                pytest.fail(f"no {text!r} in:\n" + "\n".join(self.lines))

    def stop(self) -> None:
        """Terminate the child, and see it end."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def child(argv: list[str], environ: dict[str, str]) -> Iterator[Child]:
    """Run a child meanwhile."""
    process = Child(argv, environ)
    try:
        yield process
    finally:
        process.stop()


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
    # they take nobody else's tasks.
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


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command came to."""

    code: int
    output: str
    errors: str

    @property
    def events(self) -> list[dict]:
        """The output as JSON lines."""
        return [json.loads(line) for line in self.output.splitlines()]


class Docket:
    """The command `docket` as a child process, and the database behind it."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def __call__(self, *arguments: object, timeout: float = 100, **environ: str) -> Ended:
        """Run a command to its end."""
        result = subprocess.run(
            [sys.executable, "-m", "docket", *map(str, arguments)],
            env=self.place.environ | environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ended(result.returncode, result.stdout, result.stderr)


@pytest.fixture(scope="session")
def docket(place: Place) -> Docket:
    """Return the command, its tables made, and Django in this process on the same servers."""
    command = Docket(place)
    migrated = command("migrate", "--verbosity", "0")
    assert (migrated.code, migrated.errors) == (0, "")
    # Tests of other folders may have set up Django in this process before.
    connections.databases["default"].update(dj_database_url.parse(place.database_url))
    settings.MEDIA_ROOT = str(place.media)
    app.conf.broker_url = app.conf.result_backend = place.broker_url
    return command


@pytest.fixture(scope="session")
def workers(docket: Docket) -> Iterator[tuple[Child, Child]]:
    """Run a prefork worker and a gevent worker, as Celery alone starts them."""
    celery = [sys.executable, "-m", "celery", "-A", "docket", "worker", "-l", "info"]
    with ExitStack() as stack:
        environ = docket.place.environ
        prefork = ["-P", "prefork", "-c", "2", "-Q", "celery", "-n", "prefork@%h"]
        gevent = ["-P", "gevent", "-c", "100", "-Q", "io_bound", "-n", "gevent@%h"]
        pair = [stack.enter_context(child(celery + pool, environ)) for pool in (prefork, gevent)]
        for worker in pair:
            worker.wait_for(" ready.")
        yield pair[0], pair[1]


@pytest.fixture(autouse=True)
def current_app() -> None:
    """Send by docket's app: the app that was made last is Celery's current one, whoever made it."""
    app.set_current()


@pytest.fixture
def job(docket: Docket):
    """Return a function that makes a job in the database, of a new document."""
    # Models can be imported once Django is set up, at the top of this file.
    from docket.models import Document, Job  # noqa: PLC0415

    def job(url: str = "http://127.0.0.1:1/", **fields: object) -> Job:
        source = f"http://example.org/{uuid.uuid4()}"
        document = Document.objects.create(source=source, name="a.pdf")
        return Job.objects.create(document=document, batch=uuid.uuid4(), url=url, **fields)

    yield job
    connection.close()
