"""What somebody who waits for a result reads of the results before it."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery.app.task import Context
from celery.exceptions import TimeoutError as CeleryTimeoutError

from task_server.results import parents
from tests.integration.results.conftest import calls

# What Celery's own backend calls.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    parents.install()
    yield
    parents.uninstall()


def test_the_parents_are_read_in_one_command(
    client: redis.Redis, backend: Callable[..., Any]
) -> None:
    """
    Those of the header of a chord, in a chain after others: none is read by itself.
    """
    one = backend(ours=False)
    app = one.app
    header = app.GroupResult(
        "g",
        [app.AsyncResult(f"part-{number}") for number in range(100)],
        parent=app.AsyncResult("first"),
    )
    body = app.AsyncResult("body", parent=header)
    one.mark_as_done("first", 1, Context(id="first"))
    one.mark_as_done("part-7", 7, Context(id="part-7"))
    client.config_resetstat()
    with pytest.raises(CeleryTimeoutError):
        body.get(timeout=0.2)

    found = calls(client)
    # The body itself is read when the waiting begins.
    assert 1 >= found.get("get", 0)
    assert 1 <= found["mget"] <= 5
    assert 7 == header.results[7].result


@pytest.mark.parametrize("known", ["", "known"])
def test_the_error_of_a_parent_is_raised(
    client: redis.Redis, backend: Callable[..., Any], known: str
) -> None:
    """
    In place of a result that will never come, whether it was read before or not.
    """
    one = backend(ours=False)
    app = one.app
    first = app.AsyncResult("first")
    last = app.AsyncResult("last", parent=app.AsyncResult("second", parent=first))
    one.mark_as_failure("first", ValueError("broken"), request=Context(id="first"))
    if known:
        assert "FAILURE" == first.state
    with pytest.raises(ValueError, match="broken"):
        last.get(timeout=5)


def test_an_error_that_comes_while_one_waits_is_raised(
    client: redis.Redis, backend: Callable[..., Any]
) -> None:
    """
    At the next interval, though the parent has not been waited for.
    """
    one = backend(ours=False)
    parent = one.app.AsyncResult("parent")
    child = one.app.AsyncResult("child", parent=parent)
    failed = []

    def fail(*_: Any) -> None:
        if not failed:
            failed.append(1)
            backend().mark_as_failure("parent", ValueError("late"), request=Context(id="parent"))

    with pytest.raises(ValueError, match="late"):
        child.get(timeout=20, on_interval=fail)


def test_other_backends_are_read_as_ever(backend: Callable[..., Any]) -> None:
    """
    One by one.
    """
    one = backend(ours=False, url="cache+memory://")
    parent = one.app.AsyncResult("parent")
    one.mark_as_failure("parent", ValueError("kept"), request=Context(id="parent"))
    with pytest.raises(ValueError, match="kept"):
        one.app.AsyncResult("child", parent=parent).get(timeout=1)


def test_a_value_of_another_type_is_no_result(
    client: redis.Redis, backend: Callable[..., Any]
) -> None:
    """
    MGET says nothing of it where GET is an error: one waits for what comes.
    """
    client.rpush("celery-task-meta-parent", "x")
    one = backend(ours=False)
    child = one.app.AsyncResult("child", parent=one.app.AsyncResult("parent"))
    with pytest.raises(CeleryTimeoutError):
        child.get(timeout=0.1)


def test_many_parents_are_looked_at_ten_times_a_second(
    client: redis.Redis, backend: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Celery asks at each message that arrives: to look at each one then takes longer than the rest.
    """
    app = backend(ours=False).app
    header = app.GroupResult("g", [app.AsyncResult(f"part-{number}") for number in range(100)])
    body = app.AsyncResult("body", parent=header)
    looks = []
    find = body._parents
    monkeypatch.setattr(body, "_parents", lambda: looks.append(1) or find())
    started = time.monotonic()
    for _ in range(1000):
        body._maybe_reraise_parent_error()

    assert len(looks) <= 1 + (time.monotonic() - started) / parents.APART
    assert len(looks) >= calls(client)["mget"]
