"""The services stand in one table, and all that starts or asks them goes through it."""

from dataclasses import fields
from typing import Any

import pytest

from task_server import cli
from task_server.config import loader, model
from task_server.config.services import SERVICES, WORKER, Service, service_of
from task_server.health.command import check_of
from task_server.launch.services import LAUNCHERS

OTHERS = [service for service in SERVICES.values() if not service.per_worker]


def by_name(services: Any) -> Any:
    return pytest.mark.parametrize("service", services, ids=lambda one: one.name)


def test_workers_are_one_of_the_services_and_the_only_one_of_many_processes() -> None:
    """
    A name is that of a worker unless a service has it, also where a worker is called so.
    """
    assert [WORKER] == [service for service in SERVICES.values() if service.per_worker]
    assert [WORKER, WORKER, SERVICES["flower"]] == [
        service_of(name) for name in ("prefork", "worker", "flower")
    ]


@by_name(SERVICES.values())
def test_a_service_is_a_command_that_is_started_and_asked_for_its_health(service: Service) -> None:
    """
    Its modules and its command are found by its name.
    """
    assert service.name in cli.COMMANDS
    assert callable(LAUNCHERS[service.name].process)
    assert callable(check_of(service))
    assert service.per_worker == (LAUNCHERS[service.name].stop_seconds is None)


@by_name(OTHERS)
def test_a_service_beside_the_workers_has_a_table(service: Service) -> None:
    """
    Its settings are in the configuration, so that no worker has its name.
    """
    assert service.name in model.SERVICE_TABLES
    assert {service.name for service in OTHERS} == set(model.SERVICE_TABLES)


@by_name([service for service in OTHERS if service.port is not None])
def test_the_port_is_the_settings_default(service: Service) -> None:
    """
    Nix and the stack read the port from the table, Python from the model.
    """
    (kind,) = (one for one in fields(model.Config) if one.name == service.name)
    defaults = {one.name: one.default for one in fields(model.SERVICE_TABLES[kind.name])}

    assert service.port == defaults["port"]
    assert "address" in defaults


@by_name(OTHERS)
def test_its_secrets_are_settings(service: Service) -> None:
    """
    A credential has the name of the secret setting that it gives.
    """
    secret = {
        f"{service.name}_{one.name}"
        for one in fields(model.SERVICE_TABLES[service.name])
        if one.metadata["secret"]
    }

    assert secret == set(service.secrets)


def test_a_worker_cannot_have_the_name_of_a_service() -> None:
    """
    `task-server health flower` asks Flower, and so does the unit of that name.
    """
    with pytest.raises(loader.ConfigError, match=r"workers\.flower: is the name of Flower"):
        loader.load(None, {"TASK_SERVER_WORKERS_FLOWER_QUEUES": "mail"})
