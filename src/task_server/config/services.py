"""
The services of a deployment: a row of facts each, from services.toml, which Nix reads too.

A service's name is also that of its modules: how it is started in
`task_server.launch.services`, and how it is asked for its health in `task_server.health`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """
    What is true of one kind of process; services.toml describes each field.

    Attributes:
        name: Its command, its table in the configuration, and its health check.
    """

    name: str
    title: str
    description: str
    start_seconds: float
    writes_media: bool
    per_worker: bool = False
    extra: str | None = None
    package: str | None = None
    ready: str | None = None
    secrets: tuple[str, ...] = ()
    port: int | None = None
    only_with: str | None = None
    reloads: bool = False
    variables: tuple[str, ...] = ()
    single: bool = False
    published: bool = False
    knows_queues: bool = False

    def arguments(self, name: str) -> tuple[str, ...]:
        """Return what follows `task-server` to start it; *name* is a worker's or its own."""
        return (self.name, name) if self.per_worker else (self.name,)


def _read(path: Path) -> Mapping[str, Service]:
    rows = tomllib.loads(path.read_text(encoding="utf-8"))
    return MappingProxyType(
        {name: Service(name=name, **_frozen(row)) for name, row in rows.items()}
    )


def _frozen(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


#: By name, in the order in which `up` starts them.
SERVICES: Mapping[str, Service] = _read(Path(__file__).with_suffix(".toml"))

#: The service that has one process for each worker.
WORKER = SERVICES["worker"]


def service_of(name: str) -> Service:
    """Return the service that the process *name* belongs to; no worker has a service's name."""
    service = SERVICES.get(name, WORKER)
    return WORKER if service.per_worker else service
