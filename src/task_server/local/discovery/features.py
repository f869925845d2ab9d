"""What a project has that a service exists for, by the names that services.toml knows."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from task_server.project.schedule import has_schedule

#: What asks an app, by name.
FEATURES: Mapping[str, Callable[[Any], bool]] = MappingProxyType({"schedule": has_schedule})


def features_of(app: Any) -> tuple[str, ...]:
    """Return the names of what *app* has."""
    return tuple(name for name, has in FEATURES.items() if has(app))
