"""The machine this process runs on, as the profiles want to know it."""

import os

from task_server.profiles import Machine


def this_machine() -> Machine:
    """Return the processors and the memory that this process may use."""
    return Machine(cores=float(len(os.sched_getaffinity(0))), memory=None)
