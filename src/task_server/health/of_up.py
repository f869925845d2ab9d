"""
The workers and Flower that `task-server up` runs in this folder, for a health check.

Where the configuration names no folder of heartbeats, and systemd neither, an `up` of
this user that runs here is what is meant. The standard library alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from task_server.config.model import Config
from task_server.config.services import service_of
from task_server.health.heartbeat import path_of
from task_server.health.published import up_here

#: Where `up` keeps its state unless it is told otherwise.
STATE_VARIABLE, STATE = "TASK_SERVER_STATE", ".task-server"


def of_up(config: Config, name: str, environ: Mapping[str, str]) -> tuple[Config, str]:
    """
    Return the configuration that leads to the process *name* of the `up` here.

    Without one, or where it does not run *name*, that is *config* itself. The second
    is what to say of it, or "".
    """
    state = Path(environ.get(STATE_VARIABLE) or STATE)
    info = up_here(state)
    if info is None:
        return config, ""
    service = service_of(name)
    if service.port is None:
        found = _with_heartbeat(config, name, environ, info)
    else:
        found = _listening(config, service.name, info)
    if found is None:
        return config, ""
    return found, f" (of `task-server up`, pid {info['pid']}, in {state})"


def _with_heartbeat(
    config: Config, name: str, environ: Mapping[str, str], info: Mapping[str, Any]
) -> Config | None:
    folder = info.get("runtime_dir")
    named = config.runtime_dir is not None or environ.get("RUNTIME_DIRECTORY")
    if named or not isinstance(folder, str) or not path_of(Path(folder), name).exists():
        return None
    return replace(config, runtime_dir=folder)


def _listening(config: Config, service: str, info: Mapping[str, Any]) -> Config | None:
    """Return *config* with the address and the port that `up` gave to *service*."""
    url = urlsplit(str(info.get(service, "")))
    table = getattr(config, service, None)
    if url.port is None or table is None:
        return None
    changed: dict[str, Any] = {service: replace(table, address=url.hostname, port=url.port)}
    broker = info.get("broker")
    if config.broker_url is None and isinstance(broker, str):
        changed["broker_url"] = broker
    return replace(config, **changed)
