"""The numbers that each pool chooses for a worker on a machine."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from task_server.config.pools import POOLS
from task_server.launch.profiles.base import Machine, Profile

__all__ = ["PROFILES", "Machine", "Profile"]

#: By name of the pool, which is the name of its module here.
PROFILES: Mapping[str, Profile] = MappingProxyType(
    {name: import_module(f"{__name__}.{name}").PROFILE for name in POOLS}
)
