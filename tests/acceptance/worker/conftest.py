"""A Redis that can be stopped, and workers of a small project."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from task_server.errors import LocalServerError
from tests.support.marks import Marks
from tests.support.redis import Redis
from tests.support.worker import PROJECT, TRANSPORTS, Worker


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="ts") as name:
        yield Path(name)


@pytest.fixture
def broker(folder: Path, require: Any) -> Iterator[Redis]:
    """A Redis of this test alone."""
    # A test that stops it with SIGSTOP waits for its answer.
    one = Redis(folder, "--maxmemory-policy", "noeviction", patience=None)
    try:
        one.start()
    except LocalServerError as error:
        require("redis", str(error))
    yield one
    one.stop()


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> str:
    """The transport of the test's workers: the default one, unless the test names both."""
    return str(getattr(request, "param", TRANSPORTS[0]))


@pytest.fixture
def start(folder: Path, broker: Redis, transport: str) -> Iterator[Callable[..., Worker]]:
    """
    Start workers with a pool and settings; they are ended after the test.

    A worker beside one that lives has another name than that, unless the test names it.
    """
    workers: list[Worker] = []

    def start_worker(pool: str, **settings: Any) -> Worker:
        living = {worker.name for worker in workers if worker.alive()}
        name = next(name for name in ("w", "w2", "w3", "w4") if name not in living)
        settings = {"transport": transport, "name": name} | settings
        worker = Worker(folder, broker, pool, **settings)
        workers.append(worker)
        return worker

    yield start_worker
    for worker in workers:
        worker.close()


@pytest.fixture
def stock(folder: Path, broker: Redis) -> Iterator[Callable[..., Worker]]:
    """Start a worker of Celery alone, with an app of the project, arguments and variables."""
    with ExitStack() as stack:

        def start_stock(app: str, *arguments: str, **environ: str) -> Worker:
            command = (sys.executable, "-m", "celery", f"--app={app}", "worker", *arguments)
            return stack.enter_context(
                Worker(
                    *(folder, None, ""),
                    name="stock",
                    marks=Marks(folder, "stock.log"),
                    command=command,
                    environ={
                        "CELERY_BROKER_URL": broker.url,
                        "PYTHONPATH": str(PROJECT),
                        **environ,
                    },
                )
            )

        yield start_stock


@pytest.fixture
def send(broker: Redis) -> Iterator[Callable[..., None]]:
    """Send the task *name* of the project: `send("work", 1, 0.5, countdown=600)`."""
    sender = Celery("proj", broker=broker.url)

    def send_task(name: str, *args: Any, **options: Any) -> None:
        sender.send_task(f"proj.{name}", args, **options)

    yield send_task
    sender.close()


@pytest.fixture
def app(broker: Redis) -> Iterator[Celery]:
    """Who sends tasks of any project, and waits for their results."""
    sender = Celery("sender", broker=broker.url, backend=broker.url)
    # A result unsubscribes when it is collected, maybe when there is no Redis any more.
    sender.backend.remove_pending_result = lambda _: None
    yield sender
    sender.close()
