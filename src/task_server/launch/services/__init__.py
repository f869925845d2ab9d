"""
The services beside the workers: one row each, which `up` and the commands go through.

A service has a table of its own in the configuration, whose name is the service's, so that
no worker can have it; and a check in `task_server.health.command`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from task_server.config.model import Config
from task_server.launch import requirements
from task_server.launch.command import Command, flower_command


class MakesCommand(Protocol):
    """Makes the command of a service."""

    def __call__(self, config: Config, *, python: str, environ: Mapping[str, str]) -> Command: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """
    A process beside the workers.

    Attributes:
        name: Of its table in the configuration, its command and its health check.

        title: What messages call it.

        command: Makes its command.

        check_requirements: Raises ConfigError if its packages are missing or wrong.

        is_installed: Whether its package is there, in whatever version.

        extra: The extra of task-server that brings it.

        ready: What it writes when it is ready, as a regular expression.

        stop_seconds: How long it has to stop.

        url: Where it listens, as its table says.
    """

    name: str
    title: str
    command: MakesCommand
    check_requirements: Callable[[], None]
    is_installed: Callable[[], bool]
    extra: str
    ready: str
    stop_seconds: float
    url: Callable[[Config], str]


def _flower_url(config: Config) -> str:
    flower = config.flower
    return f"http://{flower.address}:{flower.port}/{flower.url_prefix.strip('/')}"


FLOWER = Service(
    name="flower",
    title="Flower",
    command=flower_command,
    check_requirements=requirements.check_flower,
    is_installed=requirements.has_flower,
    extra="flower",
    ready=r"Visit me at",
    stop_seconds=5.0,
    url=_flower_url,
)

SERVICES: Mapping[str, Service] = MappingProxyType({service.name: service for service in (FLOWER,)})
