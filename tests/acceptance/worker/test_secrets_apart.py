"""What a task starts does not inherit the worker's secrets, unless it is to."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

pytestmark = pytest.mark.slow


@pytest.fixture
def secret(broker: Redis) -> str:
    """A password without which nothing works; the name and the password of a user."""
    broker.client.acl_setuser(
        "worker",
        enabled=True,
        passwords=["+hunter2"],
        keys=["*"],
        channels=["*"],
        commands=["+@all"],
    )
    return "hunter2"


@pytest.fixture
def settings(broker: Redis, secret: str) -> dict[str, Any]:
    url = broker.url.replace("//", f"//worker:{secret}@")
    return {
        "app": "inheriting",
        "broker_url": url,
        "environ": {"TASK_SERVER_RESULT_BACKEND": url, "REDIS_URL": "redis://mine"},
    }


def said(worker: Worker, word: str) -> list[str]:
    lines = [line.partition(" ") for line in worker.log.read_text().splitlines()]
    return [rest for first, _, rest in lines if first == word]


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("pool", POOLS)
def test_a_task_s_programs_do_not_have_the_password(
    *,
    pool: str,
    again: bool,
    secret: str,
    settings: dict[str, Any],
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    It is in no environment; tasks send tasks and have results all the same, also after SIGHUP.
    """
    worker = start(pool, **settings)
    worker.hear("READY=1")
    if again:
        worker.send(signal.SIGHUP)
        worker.hear("READY=1")
    send("search", 1, secret, task_id="searched")
    until(lambda: worker.ends().keys() == {1, 2})

    assert ["nowhere imported True"] == said(worker, "found"), worker.output()
    assert {"redis://mine"} == set(said(worker, "own"))
    until(lambda: broker.client.exists("celery-task-meta-searched"))


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_s_programs_have_it_where_they_are_to(
    *,
    pool: str,
    secret: str,
    settings: dict[str, Any],
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    `secrets_in_environment` is for tasks that start programs which send tasks.
    """
    settings["environ"]["TASK_SERVER_SECRETS_IN_ENVIRONMENT"] = "yes"
    worker = start(pool, **settings)
    worker.hear("READY=1")
    send("search", 1, secret)
    until(lambda: worker.ends().keys() == {1, 2})

    assert ["environ,getenv,proc,program imported True"] == said(worker, "found")


@pytest.mark.parametrize("pool", POOLS)
def test_what_the_user_put_there_stays(
    *,
    pool: str,
    secret: str,
    settings: dict[str, Any],
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    CELERY_BROKER_URL is Celery's; without a setting of ours it is not taken away.
    """
    url = settings.pop("broker_url")
    settings["environ"] |= {"CELERY_BROKER_URL": url}
    worker = start(pool, broker_url=None, **settings)
    worker.hear("READY=1")
    send("search", 1, secret)
    until(lambda: worker.ends().keys() == {1, 2})

    assert ["environ,getenv,proc,program imported True"] == said(worker, "found")
