"""stack.yml says of the images what image.json does, and hides nothing from Swarm."""

import json
import re
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import yaml

from task_server.config.loader import load, variable
from task_server.config.model import BUILT_IN_WORKERS, WorkerConfig
from task_server.config.services import SERVICES, Service, service_of
from task_server.launch.timing import Timing
from tests.nix.conftest import Evaluate

WORKERS = ("prefork", "gevent", "bulk")

#: What runs beside the workers, from the program's table of services.
OTHERS = tuple(service for service in SERVICES.values() if not service.per_worker)

#: Those with packages, and so an image, of their own.
WITH_IMAGE = tuple(service for service in OTHERS if service.extra)

#: The image of each service that the stack shares with image.json.
IMAGES = ("prefork", "gevent", *(service.name for service in WITH_IMAGE))


def seconds(text: str) -> int:
    """Return the seconds of a duration as in `60s`; of a variable, of its default."""
    found = re.fullmatch(r"(?:\$\{\w+:-)?(\d+)s\}?", text)
    assert found is not None, text
    return int(found[1])


def default(text: str) -> str:
    """Return what *text* is where no variable is set."""
    return re.sub(r"\$\{\w+(?::-(.*?)|:\?.*?)?\}", lambda found: found[1] or "", text)


@pytest.fixture(scope="module")
def services(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "deploy" / "swarm" / "stack.yml").read_text())["services"]


@pytest.fixture(scope="module")
def described(root: Path) -> dict[str, Any]:
    return json.loads((root / "deploy" / "image.json").read_text())


@pytest.mark.parametrize("name", IMAGES)
def test_a_service_runs_what_its_image_runs(
    services: dict[str, Any], described: dict[str, Any], name: str
) -> None:
    """
    A registry that drops health checks, as of OCI, changes nothing.
    """
    service, image = services[name], described["images"][name]

    assert service["command"] == image["Cmd"]
    check = service["healthcheck"]
    assert check["test"] == image["Healthcheck"]["Test"]
    assert check["retries"] == image["Healthcheck"]["Retries"]
    for key, known in (
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start_period", "StartPeriod"),
    ):
        assert seconds(check[key]) * 1_000_000_000 == image["Healthcheck"][known]


def test_the_stack_is_what_is_written_from_the_table(root: Path) -> None:
    """
    After a change of services.toml, deploy/swarm/services.py is to be run.
    """
    file = root / "deploy" / "swarm" / "stack.yml"

    assert run_path(str(file.with_name("services.py")))["written"](file.read_text()) == (
        file.read_text()
    )


def test_a_row_more_is_a_service_more(root: Path) -> None:
    """
    One that neither listens nor has a secret or an extra runs in a worker's image; one that may
    run once only ends before its successor starts.
    """
    file = root / "deploy" / "swarm" / "stack.yml"
    generator = run_path(str(file.with_name("services.py")))
    clock = Service(
        name="clock",
        title="A clock",
        description="A clock",
        start_seconds=45,
        writes_media=True,
    )
    generator["OTHERS"].append(clock)

    once = generator["written"](file.read_text())
    stack = yaml.safe_load(once)

    assert once == generator["written"](once)
    assert [*WORKERS, *(one.name for one in OTHERS), "clock"] == list(stack["services"])
    added = stack["services"]["clock"]
    assert ["clock"] == added["command"]
    assert "45s" == added["healthcheck"]["start_period"]
    assert stack["services"]["prefork"]["image"] == added["image"]
    assert stack["services"]["prefork"]["volumes"] == added["volumes"]
    assert {"ports", "secrets"}.isdisjoint(added)
    assert "start-first" == added["deploy"]["update_config"]["order"]
    one = stack["services"]["beat"]["deploy"]
    assert "stop-first" == one["update_config"]["order"] == one["rollback_config"]["order"]
    assert "${CELERY_BEAT_REPLICAS:-1}" == one["replicas"]
    generator["OTHERS"].remove(clock)
    assert file.read_text() == generator["written"](once)


def test_the_stack_has_every_service(services: dict[str, Any], described: dict[str, Any]) -> None:
    """
    The workers, and one service for each row of the program's table.
    """
    assert [*WORKERS, *(service.name for service in OTHERS)] == list(services)
    assert {service.name for service in WITH_IMAGE} <= set(described["images"])


@pytest.mark.parametrize("name", [*WORKERS, *(service.name for service in OTHERS)])
def test_a_service_is_as_the_table_has_it(
    services: dict[str, Any], described: dict[str, Any], name: str
) -> None:
    """
    What it starts, how it is asked for its health and from when on that counts.
    """
    row, service = service_of(name), services[name]
    program = described["config"]["Entrypoint"][-1]

    assert [*row.arguments(name)] == service["command"]
    assert ["CMD", program, "health", name] == service["healthcheck"]["test"]
    assert row.start_seconds == seconds(service["healthcheck"]["start_period"])
    assert list(row.secrets) == [secret["target"] for secret in service.get("secrets", [])]
    for secret in row.secrets:
        assert f"/run/secrets/{secret}" == service["environment"][variable(f"{secret}_file")]
    media = {mount["target"]: mount for mount in service["volumes"]}["/sata"]
    assert row.writes_media is not media.get("read_only", False)


@pytest.mark.parametrize("service", WITH_IMAGE, ids=lambda one: one.name)
def test_what_listens_is_reached_from_outside_its_container(
    services: dict[str, Any], described: dict[str, Any], service: Service
) -> None:
    """
    Its port is exposed, published if it asks for a password, and it listens on each address.
    """
    ports = [port["target"] for port in services[service.name].get("ports", [])]
    image = described["images"][service.name]
    everywhere = {variable(f"{service.name}.address"): "0.0.0.0"} if service.port else {}

    assert [service.port] * service.published == ports
    assert service.published == bool(service.secrets)
    assert [f"{service.port}/tcp"] * bool(service.port) == image.get("ExposedPorts", [])
    assert everywhere == image.get("Env", {})
    assert everywhere.items() <= services[service.name]["environment"].items()


@pytest.mark.parametrize("name", [*IMAGES, "bulk"])
def test_a_service_may_do_nothing_it_need_not(
    services: dict[str, Any], described: dict[str, Any], name: str
) -> None:
    """
    User 33, a root that is read-only, no capability, and /tmp in the form that Swarm knows.
    """
    service = services[name]

    assert described["config"]["User"] == service["user"]
    assert service["read_only"] is True
    assert ["ALL"] == service["cap_drop"]
    assert "true" == service["environment"]["TASK_SERVER_NO_NEW_PRIVILEGES"]
    assert "tmpfs" not in service
    mounts = {mount["target"]: mount for mount in service["volumes"]}
    assert "tmpfs" == mounts["/tmp"]["type"]
    assert mounts["/opt/celery"]["read_only"] is True


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_knows_its_node(services: dict[str, Any], name: str) -> None:
    """
    Swarm fills it in, so that status can say where a worker runs.
    """
    assert "{{.Node.Hostname}}" == services[name]["environment"]["TASK_SERVER_MACHINE"]


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_has_time_to_drain(services: dict[str, Any], name: str) -> None:
    """
    The engine kills a worker only after it should have exited.
    """
    drain = WorkerConfig(name=name).drain_seconds

    assert seconds(services[name]["stop_grace_period"]) > drain + Timing().finish


@pytest.mark.parametrize("name", WORKERS)
def test_the_variables_of_a_service_are_settings(services: dict[str, Any], name: str) -> None:
    """
    The program takes every one of them, and the worker that is started is among them.
    """
    environ = {
        variable: default(value) or "3" for variable, value in services[name]["environment"].items()
    }

    config = load(None, environ)

    assert services[name]["command"] == ["worker", name]
    assert name in config.workers
    assert config.no_new_privileges
    if name not in BUILT_IN_WORKERS:
        assert ("batch1", "batch2", "iauploads") == config.workers[name].queues
        assert 5 == config.workers[name].prefetch_multiplier


def test_a_worker_that_ends_at_once_does_not_spin(services: dict[str, Any]) -> None:
    """
    All the attempts lie within the window, so that Swarm ever counts enough of them.
    """
    policy = services["prefork"]["deploy"]["restart_policy"]

    assert seconds(policy["delay"]) >= 5
    assert policy["max_attempts"] * (seconds(policy["delay"]) + 3) < seconds(policy["window"])


@pytest.mark.parametrize("service", OTHERS, ids=lambda one: one.name)
def test_a_service_has_the_mounts_of_a_worker(services: dict[str, Any], service: Service) -> None:
    """
    It loads the project's app; the media folder alone can be read-only.
    """
    worker, other = (
        {mount["target"]: mount for mount in services[name]["volumes"]}
        for name in ("prefork", service.name)
    )

    assert worker == other | {"/sata": worker["/sata"]}


def test_the_stack_of_a_project_deploys_that_project(
    services: dict[str, Any], evaluate: Evaluate
) -> None:
    """
    Its app by default, its images, and the code in them instead of a mount over it.
    """
    text = evaluate(
        """import ./nix/stack-text.nix {
          app = "library";
          codeInImage = true;
          images."task-server-gevent:latest" = "library-gevent:abc";
        }"""
    )
    stack = yaml.safe_load(text)

    assert "CL_CODE_DIR" not in text
    assert "${TASK_SERVER_GEVENT_IMAGE:-library-gevent:abc}" == stack["services"]["gevent"]["image"]
    for name, service in stack["services"].items():
        assert "${TASK_SERVER_APP:-library}" == service["environment"]["TASK_SERVER_APP"]
        mounts = [mount["target"] for mount in services[name]["volumes"]]
        mounts.remove("/opt/celery")
        assert mounts == [mount["target"] for mount in service["volumes"]]


def test_the_stack_of_no_project_is_the_file(root: Path, evaluate: Evaluate) -> None:
    """
    Our own flake pins images and changes nothing else.
    """
    text = evaluate("import ./nix/stack-text.nix { }")

    assert (root / "deploy" / "swarm" / "stack.yml").read_text() == text


def test_a_line_that_the_stack_no_longer_has_is_an_error(evaluate: Evaluate) -> None:
    """
    A changed stack.yml fails the build, instead of deploying images that are not pinned.
    """
    gone = 'import ./nix/stack-text.nix { images."gone:latest" = "other:1"; }'

    assert evaluate(f"(builtins.tryEval ({gone})).success") is False


@pytest.mark.parametrize("service", OTHERS, ids=lambda one: one.name)
def test_a_service_knows_the_queues_that_it_must(
    services: dict[str, Any], service: Service
) -> None:
    """
    Those that a variable gives to a worker are given to it too.
    """
    given = {
        name: value
        for worker in WORKERS
        for name, value in services[worker]["environment"].items()
        if name.endswith("_QUEUES")
    }

    assert given
    known = given.items() & services[service.name]["environment"].items()
    assert given == dict(known) if service.knows_queues else not known
