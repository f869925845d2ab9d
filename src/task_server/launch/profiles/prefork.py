"""The prefork pool: one process a task, for work that needs the processor."""

from math import floor

from task_server.launch.profiles.base import Machine, Profile

#: What Celery's main process takes before it forks, of an import-heavy project.
MAIN_PROCESS_BYTES = 160 * 2**20

#: Below this a child could not even hold the project's imports.
SMALLEST_CHILD_BYTES = 96 * 2**20


def _concurrency(machine: Machine) -> int:
    # More children than processors only take turns; a quota of half a
    # processor still needs one child.
    return max(1, floor(machine.cores))


def _child_memory(memory: int, concurrency: int) -> int:
    """
    Return the bytes a child may grow to so that all fit under the limit.

    A child that exceeds it is replaced after its task; without that the kernel
    kills one in the middle of a task when the cgroup's limit is reached.
    """
    if not memory:
        return 0
    return max(SMALLEST_CHILD_BYTES, (memory - MAIN_PROCESS_BYTES) * 9 // 10 // concurrency)


def _never(_memory: int) -> int:
    return 0


PROFILE = Profile(
    concurrency=_concurrency,
    # A message reserved for a busy child waits although another is free:
    # CPU-bound tasks are long, so reserve no more than runs.
    prefetch_multiplier=1,
    child_memory=_child_memory,
    drain_memory=_never,
)
