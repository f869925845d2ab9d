"""What `check --live` says of delayed tasks."""

from typing import Any

import pytest
import redis
from celery import Celery

from task_server.checks import Context, ProjectFacts
from task_server.checks.live.delayed import delayed
from task_server.config.model import Config, WorkerConfig
from task_server.errors import Finding
from tests.support.specs import spec_of


def findings(url: str, transport: str = "atomic") -> list[Finding]:
    """Return what is found at *url* for one worker of `celery` with *transport*."""
    app = Celery("check", broker=url, set_as_current=False)
    worker = WorkerConfig(name="prefork", transport=transport)  # type: ignore[arg-type]
    context = Context(
        config=Config(workers={"prefork": worker}),
        workers={"prefork": spec_of(worker)},
        counts={"prefork": 1},
        facts=ProjectFacts(),
    )
    try:
        return list(delayed(context, app, 5.0))
    finally:
        app.close()


@pytest.fixture
def client(redis_server) -> Any:
    with redis.Redis.from_url(redis_server.client_url) as opened:
        yield opened


def test_none_is_no_line(redis_server) -> None:
    """
    Nothing is said of what there is not.
    """
    assert [] == findings(redis_server.url)


def test_those_that_come_back_are_counted(redis_server, client) -> None:
    """
    The tasks of a consumed queue wait, of all its priorities.
    """
    client.zadd("unacked.delayed:celery", {"1 {}": 1, "2 {}": 2})
    client.zadd("unacked.delayed:celery\x06\x163", {"1 {}": 1})
    (found,) = findings(redis_server.url)

    assert ("info", "3 wait in Redis until they are due") == (found.level, found.message)


def test_those_that_nobody_returns_are_a_warning(redis_server, client) -> None:
    """
    Those of another queue, and all if the worker has Kombu's transport.
    """
    client.zadd("unacked.delayed:celery", {"1 {}": 1})
    client.zadd("unacked.delayed:other", {"1 {}": 1})
    client.set("unacked.delayed:odd", "x")
    warning, info = findings(redis_server.url)
    (both,) = findings(redis_server.url, "kombu")

    assert ("warning", "info") == (warning.level, info.level)
    assert "other (1 tasks)" in warning.message
    assert "celery (1 tasks), other (1 tasks)" in both.message
    assert "task-server delayed release" in both.repair
