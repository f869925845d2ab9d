"""The prefork pool: one process a task, for work that needs the processor."""

from math import floor

from task_server.config.model import AUTO, WorkerConfig
from task_server.launch.profiles.base import Machine, Profile

#: What Celery's main process takes before it forks, of an import-heavy project.
MAIN_PROCESS_BYTES = 160 * 2**20

#: Below this a child could not even hold the project's imports.
SMALLEST_CHILD_BYTES = 96 * 2**20


def profile(worker: WorkerConfig, machine: Machine) -> Profile:
    """Return the profile of a prefork *worker* on *machine*."""
    concurrency = worker.concurrency
    if concurrency in (None, AUTO):
        # More children than processors only take turns; a quota of half a
        # processor still needs one child.
        concurrency = max(1, floor(machine.cores))
    assert isinstance(concurrency, int)  # noqa: S101 - narrows for the type checker
    return Profile(
        worker=worker,
        concurrency=concurrency,
        # A message reserved for a busy child waits although another is free:
        # CPU-bound tasks are long, so reserve no more than runs.
        prefetch_multiplier=worker.prefetch_multiplier or 1,
        max_memory_per_child=worker.max_memory_per_child or _share(worker, machine, concurrency),
        memory_limit=None,
    )


def _share(worker: WorkerConfig, machine: Machine, concurrency: int) -> int | None:
    """
    Return the bytes a child may grow to so that all fit under the limit.

    A child that exceeds it is replaced after its task; without that the kernel
    kills one in the middle of a task when the cgroup's limit is reached.
    """
    limit = worker.memory_limit or machine.memory
    if limit is None:
        return None
    return max(SMALLEST_CHILD_BYTES, (limit - MAIN_PROCESS_BYTES) * 9 // 10 // concurrency)
