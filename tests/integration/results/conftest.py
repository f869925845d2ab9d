"""Celery apps with results in a real Redis: with our backend, and with Celery's."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context
from redis import Redis

from task_server import results
from task_server.errors import LocalServerError
from tests.support.redis import Redis as Server


@pytest.fixture(scope="session")
def server(require: Any) -> Iterator[Server]:
    """Return a server for all tests of results."""
    with TemporaryDirectory(prefix="results-") as folder:
        one = Server(Path(folder), patience=None)
        try:
            one.start()
        except LocalServerError as error:
            require("redis", str(error))
        yield one
        one.stop()


@pytest.fixture
def client(server: Server) -> Redis:
    """Return a client of the server, which is empty."""
    server.client.flushall()
    server.client.config_resetstat()
    return server.client


def body(values: list[Any]) -> list[Any]:
    """Be the body of a chord."""
    return values


@pytest.fixture
def backend(server: Server) -> Iterator[Callable[..., Any]]:
    """Return a backend of ours, or of Celery's with `ours=False`, of an app with *settings*."""
    apps: list[Celery] = []

    def make(*, ours: bool = True, url: str = "", **settings: Any) -> Any:
        app = Celery("results", set_as_current=False, broker="memory://")
        app.conf.result_backend = url or server.url
        app.conf.update(settings)
        app.task(name="body")(body)
        apps.append(app)
        if not ours:
            return app.backend
        results.install()
        try:
            return app.backend
        finally:
            results.uninstall()

    yield make
    for app in apps:
        # A result unsubscribes when it is collected, maybe when there is no Redis any more.
        app.backend.remove_pending_result = lambda _: None
        # Before the garbage collector warns of its sockets.
        if hasattr(app.backend, "connparams"):
            app.backend.result_consumer.stop()
            app.backend.client.connection_pool.disconnect()
        app.close()


def part(backend: Any, group: str, number: int) -> Context:
    """Return the request of a task that is a part of a chord."""
    return Context(
        id=f"{group}-{number}",
        chord=backend.app.tasks["body"].s(),
        group=group,
        group_index=number,
        chain=None,
        errbacks=None,
    )


def end(backend: Any, group: str, number: int, value: Any) -> None:
    """Let a part of a chord end, as a worker does: with a value, or an exception."""
    request = part(backend, group, number)
    if isinstance(value, Exception):
        backend.mark_as_failure(request.id, value, request=request)
    else:
        backend.mark_as_done(request.id, value, request)


def calls(client: Redis) -> dict[str, int]:
    """Return how often each command was called, those in scripts too."""
    found: Any = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): row["calls"] for name, row in found.items()}
