"""What each pool makes of a worker's configuration."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from task_server.config.model import Pool, WorkerConfig
from task_server.launch.profiles import gevent, prefork
from task_server.launch.profiles.base import Machine, Profile

__all__ = ["PROFILES", "Machine", "Profile", "profile_of"]

#: The function that makes the profile, by name of the pool.
PROFILES: Mapping[Pool, Callable[[WorkerConfig, Machine], Profile]] = MappingProxyType(
    {"prefork": prefork.profile, "gevent": gevent.profile}
)


def profile_of(worker: WorkerConfig, machine: Machine) -> Profile:
    """Return the profile of *worker* on *machine*."""
    return PROFILES[worker.pool](worker, machine)
