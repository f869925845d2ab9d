"""The machine this process runs on, as the profiles want to know it."""

import os

from task_server.launch import cgroup
from task_server.launch.profiles import Machine


def this_machine() -> Machine:
    """Return the processors and the memory that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        cores = float(len(os.sched_getaffinity(0)))
    else:
        cores = float(os.cpu_count() or 1)
    quota = cgroup.cpu_quota()
    return Machine(
        cores=cores if quota is None else min(cores, quota), memory=cgroup.memory_limit()
    )
