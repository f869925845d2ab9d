"""image.json, from which Nix and Docker make the same images, is complete."""

import json
from pathlib import Path
from typing import Any

import pytest

from task_server.config.loader import variable
from task_server.config.model import BUILT_IN_WORKERS
from task_server.config.services import SERVICES, service_of

WORKERS = {"worker": "all", "prefork": "prefork", "gevent": "gevent"}
#: Image -> the process that it starts: a worker, or a service beside the workers.
IMAGES = WORKERS | {one.name: one.name for one in SERVICES.values() if one.extra}
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def described(root: Path) -> dict[str, Any]:
    return json.loads((root / "deploy" / "image.json").read_text())


def test_there_is_an_image_for_each_service(described: dict[str, Any]) -> None:
    """
    One worker for all queues, one for each pool, and what has packages that no worker needs.
    """
    assert set(described["images"]) == set(IMAGES)


@pytest.mark.parametrize(("image", "name"), IMAGES.items())
def test_an_image_asks_how_it_is(described: dict[str, Any], image: str, name: str) -> None:
    """
    The health check of an image asks for what the image starts, once it may have started.
    """
    program = described["config"]["Entrypoint"][-1]

    row, found = service_of(name), described["images"][image]
    assert found["Cmd"] == list(row.arguments(name))
    assert found["Healthcheck"]["Test"] == ["CMD", program, "health", name]
    assert found["Healthcheck"]["StartPeriod"] == row.start_seconds * SECOND


@pytest.mark.parametrize(("image", "worker"), WORKERS.items())
def test_an_image_runs_a_worker(described: dict[str, Any], image: str, worker: str) -> None:
    """
    The worker that the image starts is built in.
    """
    assert worker in BUILT_IN_WORKERS
    assert described["images"][image]["Cmd"] == ["worker", worker]


def test_health_checks_are_in_nanoseconds(described: dict[str, Any]) -> None:
    """
    Docker reads numbers without a unit as nanoseconds: 30 would be no interval at all.
    """
    for image in described["images"].values():
        check = image["Healthcheck"]
        assert SECOND <= check["Timeout"] < check["Interval"]
        assert check["StartPeriod"] >= 30 * SECOND
        assert check["Retries"] >= 1
        assert check["Test"][0] == "CMD"


def test_the_entry_point_is_a_process_that_reaps_and_no_shell(described: dict[str, Any]) -> None:
    """
    Children of children that are killed do not stay as zombies, and signals reach the worker.
    """
    init, separator, program = described["config"]["Entrypoint"]

    assert init == described["init"]
    assert separator == "--"
    assert program == f"{described['environment']}/bin/task-server"
    assert described["config"]["StopSignal"] == "SIGTERM"


def test_the_user_is_a_number_with_a_name(described: dict[str, Any]) -> None:
    """
    Kubernetes and Swarm can tell that 33:33 is not root, and programs find its name.
    """
    user = described["user"]

    assert described["config"]["User"] == f"{user['uid']}:{user['gid']}" == "33:33"
    assert user["name"] == user["group"] == "www-data"


def test_folders_that_are_named_exist(described: dict[str, Any]) -> None:
    """
    Code, media and temporary files have their folder, and who must write to it can.

    Media only where they are mounted: what is written to the container is lost with it.
    """
    folders = described["folders"]
    environ = described["config"]["Env"]

    assert environ["PYTHONPATH"] == described["config"]["WorkingDir"] == "/opt/celery"
    assert folders["/opt/celery"]["owner"] == "root"
    assert folders[environ["DJANGO_MEDIA_ROOT"]]["owner"] == "root"
    assert folders[environ["HOME"]]["owner"] == "user"
    assert folders["/tmp"] == {"mode": "1777", "owner": "root"}


def test_programs_are_found_in_the_environment_first(described: dict[str, Any]) -> None:
    """
    PATH begins with the virtual environment that holds task-server.
    """
    path = described["config"]["Env"]["PATH"].split(":")

    assert path[0] == f"{described['environment']}/bin"
    assert "/usr/bin" in path


def test_no_secret_is_in_an_image(described: dict[str, Any]) -> None:
    """
    Everybody who can pull an image can read its variables.
    """
    variables = {
        name
        for part in (described["config"], *described["images"].values())
        for name in part.get("Env", {})
    }
    secrets = {variable(name) for name in ("broker_url", "result_backend", "flower.basic_auth")}

    assert variables.isdisjoint(secrets | {"REDIS_URL", "DATABASE_URL", "SECRET_KEY"})


def test_labels_say_where_it_is_from(described: dict[str, Any]) -> None:
    """
    What does not change from build to build stands here; the builder adds the rest.
    """
    labels = described["config"]["Labels"]

    assert labels["org.opencontainers.image.licenses"] == "BSD-3-Clause"
    assert labels["org.opencontainers.image.source"].startswith("https://")
    assert all(image["title"] for image in described["images"].values())
