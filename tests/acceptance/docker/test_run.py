"""`docker run`: one container, one worker for both queues."""

import json
from pathlib import Path

import pytest

from tests.acceptance.docker.conftest import USER, Broker, Runs
from tests.acceptance.docker.engine import docker, options, running
from tests.support.wait import until

#: What an operator who trusts nothing adds.
LOCKED = (
    *("--read-only", "--tmpfs", "/tmp", "--user", "33:33", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges"),
)


@pytest.mark.parametrize("locked", [(), LOCKED], ids=["plain", "locked"])
def test_a_container_works_off_both_queues(  # noqa: PLR0917 - fixtures
    locked: tuple[str, ...],
    images: dict[str, str],
    old_readme: list[str],
    broker: Broker,
    runs: Runs,
    media: Path,
) -> None:
    """
    As the old README ran it, and with everything taken away that can be.
    """
    with running(*old_readme, *locked, images["worker"]) as worker:
        worker.hear("ready.")

        assert 5 == broker.result("add", 2, 3)
        assert 7 == broker.result("add", 3, 4, queue="io_bound")
        broker.result("run", 1)
        broker.result("run", 2, queue="io_bound")
        assert [USER, USER] == broker.result("write", "note.txt", "hello")
        assert {1: 1, 2: 1} == runs.count("ended")
        assert "hello" == (media / "note.txt").read_text()
        assert "all: ready" in worker.execute(
            "/opt/task-server/bin/task-server", "health", "all", "--ready"
        )


def test_a_stop_in_the_middle_of_tasks_loses_none(
    images: dict[str, str], old_readme: list[str], broker: Broker, runs: Runs
) -> None:
    """
    `docker stop` drains: what runs ends, the rest waits for another worker.
    """
    settings = options(TASK_SERVER_WORKERS_ALL_CONCURRENCY="2")
    with running(*old_readme, *settings, images["worker"]) as worker:
        worker.hear("ready.")
        for number in range(40):
            broker.send("run", number, 1.0, queue=("celery", "io_bound")[number % 2])
        until(lambda: len(runs.count("began")) >= 4, "tasks to begin")

        docker("stop", "--time", "60", worker.name)

        assert 0 == worker.state["ExitCode"], worker.logs()
        assert "draining" in worker.logs()
    ended = runs.count("ended")
    assert runs.count("began") == ended
    assert (40 - len(ended), 0) == (broker.waiting(), broker.unacked())


def test_the_settings_may_come_from_the_private_file(
    images: dict[str, str], old_readme: list[str], broker: Broker, code: Path
) -> None:
    """
    `11-private.py` of the mounted code overrides the environment of the image.
    """
    private = code / "cl/settings/11-private.py"
    private.write_text('CELERY_BROKER_URL = "redis://cl-redis:6379/0"\n')
    with running(*old_readme, *options(REDIS_HOST="nowhere"), images["worker"]) as worker:
        worker.hear("ready.")
        broker.send("add", 1, 2)
        # Its result goes to `nowhere`: whether it succeeds is another matter.
        until(lambda: "received" in worker.logs(), "the task to be taken")


def test_the_first_process_reaps_and_the_health_is_dockers(
    images: dict[str, str], old_readme: list[str], broker: Broker
) -> None:
    """
    PID 1 is the one that reaps, and Docker asks the worker how it is.
    """
    with running(*old_readme, "--health-interval", "1s", images["worker"]) as worker:
        worker.hear("ready.")
        until(lambda: worker.health() == "healthy", "Docker to find it healthy")

        assert worker.execute("cat", "/proc/1/comm") == "catatonit"
    labels = json.loads(
        docker("image", "inspect", "--format", "{{json .Config.Labels}}", images["worker"])
    )
    assert "BSD-3-Clause" == labels["org.opencontainers.image.licenses"]
