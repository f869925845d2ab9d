"""What a container says when something it needs is not there, and how soon."""

import os
from pathlib import Path

import pytest

from tests.acceptance.docker.conftest import Broker, Runs
from tests.acceptance.docker.engine import options, running
from tests.support.wait import until

#: Exit code of a configuration error, as of systemd and sysexits.h.
CONFIGURATION = 78

#: Docker's health check in these tests: soon, and believed the first time.
SOON = ("--health-interval", "1s", "--health-retries", "1", "--health-start-period", "0s")


def without(arguments: list[str], target: str) -> list[str]:
    """Return *arguments* without the volume that is mounted at *target*."""
    kept = list(arguments)
    for position, word in enumerate(arguments):
        if word.split(":")[1:2] == [target]:
            del kept[position - 1 : position + 1]
    assert len(kept) == len(arguments) - 2
    return kept


@pytest.mark.parametrize("kind", ["worker", "gevent"])
def test_code_that_is_not_mounted_is_named(
    kind: str, images: dict[str, str], old_readme: list[str], broker: Broker
) -> None:
    """
    The worker ends before Celery starts, and shows the option that is missing.
    """
    with running(*without(old_readme, "/opt/celery"), images[kind]) as worker:
        assert CONFIGURATION == worker.wait()
        assert "/opt/celery" in worker.logs()
        assert "--volume" in worker.logs()


@pytest.mark.parametrize("kind", ["worker", "prefork", "gevent", "flower", "metrics"])
def test_a_forgotten_variable_takes_no_queue(
    kind: str, images: dict[str, str], broker: Broker
) -> None:
    """
    Without a project and without its name no container takes a task; it says how to name one.
    """
    with running(images[kind]) as container:
        assert CONFIGURATION == container.wait()
        assert "app: no Celery app was found in /opt/celery, which is empty" in container.logs()
        assert "TASK_SERVER_APP" in container.logs()


def test_the_only_project_in_the_code_is_found(
    images: dict[str, str], old_readme: list[str], broker: Broker
) -> None:
    """
    A forgotten variable does no harm where there is no doubt; the log says what was found.
    """
    named = [word for word in old_readme if not word.startswith("TASK_SERVER_APP")]
    del named[named.index("--env")]
    with running(*named, images["worker"]) as worker:
        line = "app: cl, found by the only package of /opt/celery"
        until(lambda: line in worker.logs(), "the line that says what was found")


def test_media_that_cannot_be_written_are_named(
    images: dict[str, str], old_readme: list[str], broker: Broker, media: Path
) -> None:
    """
    The message says who may, and who the worker is.
    """
    os.chown(media, 0, 0)
    with running(*old_readme, images["worker"]) as worker:
        assert CONFIGURATION == worker.wait()
        assert "/sata" in worker.logs()
        assert "33" in worker.logs()


@pytest.mark.parametrize("locked", [(), ("--read-only", "--tmpfs", "/tmp")])
def test_every_absent_mount_is_named_at_once(
    locked: tuple[str, ...], images: dict[str, str], old_readme: list[str], broker: Broker
) -> None:
    """
    One start reports all; media would otherwise be lost with the container.
    """
    mounted = without(without(old_readme, "/opt/celery"), "/sata")
    with running(*mounted, *locked, images["worker"]) as worker:
        assert CONFIGURATION == worker.wait()
        assert "/sata" in worker.logs()
        assert "/opt/celery" in worker.logs()


@pytest.mark.parametrize("kind", ["worker", "gevent"])
def test_a_redis_that_is_not_there_is_named_and_waited_for(
    kind: str, images: dict[str, str], old_readme: list[str], broker: Broker
) -> None:
    """
    It may come later, so the worker stays: alive, and not ready.
    """
    name = {"worker": "all"}.get(kind, kind)
    settings = options(REDIS_HOST="cl-redis-2")
    with running(*old_readme, *settings, *SOON, images[kind]) as worker:
        worker.hear("cl-redis-2:6379", 20)

        program = "/opt/task-server/bin/task-server"
        until(
            lambda: "alive, not ready" in worker.execute(program, "health", name, check=False),
            "the heartbeat",
        )
        until(lambda: worker.health() == "healthy", "Docker to let it live")
        assert worker.state["Running"]


@pytest.mark.parametrize("kind", ["worker", "gevent"])
def test_a_wrong_password_of_redis_is_a_configuration_error(
    kind: str, images: dict[str, str], old_readme: list[str], broker: Broker
) -> None:
    """
    It does not become right by waiting.
    """
    broker.client.config_set("requirepass", "correct")
    try:
        settings = options(REDIS_PASSWORD="wrong-and-secret")
        with running(*old_readme, *settings, images[kind]) as worker:
            assert CONFIGURATION == worker.wait()
            assert "password" in worker.logs().lower()
            assert "wrong-and-secret" not in worker.logs()
    finally:
        broker.client.config_set("requirepass", "")


def test_a_user_that_postgresql_refuses_is_named(
    images: dict[str, str], old_readme: list[str], broker: Broker
) -> None:
    """
    The role is named within seconds, not by the first task.
    """
    with running(*old_readme, *options(DB_USER="nobody-of-that-name"), images["worker"]) as worker:
        worker.hear("nobody-of-that-name", 30)


def test_a_socket_folder_that_is_not_mounted_is_named(
    images: dict[str, str], old_readme: list[str], broker: Broker, runs: Runs
) -> None:
    """
    PostgreSQL may come later, so the worker stays and says what it misses.
    """
    with running(*without(old_readme, "/var/run/postgresql"), images["worker"]) as worker:
        worker.hear("/var/run/postgresql", 30)


def test_mistakes_in_variables_are_reported_at_once(
    images: dict[str, str], old_readme: list[str], broker: Broker
) -> None:
    """
    Each variable is named, and nothing is tried with half of them.
    """
    settings = options(
        TASK_SERVER_WORKERS_ALL_CONCURRENCY="none", TASK_SERVER_WORKERS_GEVENT_POOL="threads"
    )
    with running(*old_readme, *settings, images["worker"]) as worker:
        assert CONFIGURATION == worker.wait()
        assert "TASK_SERVER_WORKERS_ALL_CONCURRENCY" in worker.logs()
        assert "TASK_SERVER_WORKERS_GEVENT_POOL" in worker.logs()
