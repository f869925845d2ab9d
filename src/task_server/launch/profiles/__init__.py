"""The numbers that each pool chooses for a worker on a machine."""

from collections.abc import Mapping
from types import MappingProxyType

from task_server.launch.profiles import gevent, prefork
from task_server.launch.profiles.base import Machine, Profile

__all__ = ["PROFILES", "Machine", "Profile"]

#: By name of the pool; each pool of `task_server.config.pools` has one.
PROFILES: Mapping[str, Profile] = MappingProxyType(
    {"prefork": prefork.PROFILE, "gevent": gevent.PROFILE}
)
