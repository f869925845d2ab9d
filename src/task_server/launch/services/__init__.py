"""How each service is started: a module each, by its name in `task_server.config.services`."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from task_server.config.services import SERVICES
from task_server.launch.services.base import Launcher, Process

__all__ = ["LAUNCHERS", "Launcher", "Process"]

#: By name of the service.
LAUNCHERS: Mapping[str, Launcher] = MappingProxyType(
    {name: import_module(f"{__name__}.{name}").LAUNCHER for name in SERVICES}
)
