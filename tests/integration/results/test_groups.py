"""A group of results is counted and forgotten together, and so that Celery would find it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery.app.task import Context

from task_server.results import groups
from tests.integration.results.conftest import calls

# What Celery's own backend calls.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    groups.install()
    yield
    groups.uninstall()


def group_of(one: Any, count: int, **options: Any) -> Any:
    """Return a group of *count* results in *one*, the even ones of which have succeeded."""
    app = one.app
    for number in range(0, count, 2):
        one.mark_as_done(f"part-{number}", number, Context(id=f"part-{number}"))
    results = [app.AsyncResult(f"part-{number}", **options) for number in range(count)]
    return app.GroupResult("g", results)


@pytest.mark.parametrize("ours", [False, True], ids=["stock", "ours"])
def test_a_group_is_counted_in_one_command(
    client: redis.Redis, backend: Callable[..., Any], *, ours: bool
) -> None:
    """
    Those that have succeeded; failures and those that are not there do not count.
    """
    one = backend(ours=ours)
    found = group_of(one, 400)
    one.mark_as_failure("part-1", ValueError("x"), request=Context(id="part-1"))
    client.config_resetstat()

    assert 200 == found.completed_count()
    assert {"mget": 1} == {name: count for name, count in calls(client).items() if "get" in name}
    one.mark_as_done("part-3", 3, Context(id="part-3"))
    assert 201 == found.completed_count()


@pytest.mark.parametrize("ours", [False, True], ids=["stock", "ours"])
def test_a_group_is_forgotten_in_one_command(
    client: redis.Redis, backend: Callable[..., Any], *, ours: bool
) -> None:
    """
    With the result before it; nothing of it is left, here or in Redis.
    """
    one = backend(ours=ours)
    one.mark_as_done("first", 1, Context(id="first"))
    one.mark_as_done("other", 1, Context(id="other"))
    parent = one.app.AsyncResult("first")
    found = group_of(one, 400, parent=parent)
    assert 0 == found.results[0].get()
    client.config_resetstat()

    found.forget()

    assert 2 == calls(client)["del"]
    assert [one.get_key_for_task("other")] == client.keys("celery-task-meta-*")
    assert "PENDING" == found.results[0].state


def test_groups_in_groups_and_other_backends_are_as_with_celery(
    client: redis.Redis, backend: Callable[..., Any]
) -> None:
    """
    A backend with a `delete` of its own is asked for each, and a group in a group as a whole.
    """
    one = backend(ours=False)
    inner = group_of(one, 4)
    one.mark_as_done("single", 1, Context(id="single"))
    outer = one.app.GroupResult("o", [inner, one.app.AsyncResult("single")])
    deleted = []

    class Own(type(one)):  # type: ignore[misc]
        def delete(self, key: Any) -> None:
            deleted.append(key)
            super().delete(key)

    assert 1 == outer.completed_count()
    one.__class__ = Own
    outer.forget()

    assert 5 == len(deleted)
    assert [] == client.keys("celery-task-meta-*")
