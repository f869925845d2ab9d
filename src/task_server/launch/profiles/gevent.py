"""The gevent pool: one greenlet a task, for work that waits for the network."""

from task_server.config.model import WorkerConfig
from task_server.launch.profiles.base import Machine, Profile

#: The size that CourtListener runs; a waiting greenlet costs some ten KiB.
CONCURRENCY = 512


def profile(worker: WorkerConfig, machine: Machine) -> Profile:
    """Return the profile of a gevent *worker* on *machine*."""
    concurrency = worker.concurrency or CONCURRENCY
    assert isinstance(concurrency, int)  # noqa: S101 - the loader refuses 'auto' for gevent
    limit = worker.memory_limit or machine.memory
    return Profile(
        worker=worker,
        concurrency=concurrency,
        # With a multiplier of 1 and late acknowledgement the worker stalls in
        # the transport's poll of two seconds as soon as every greenlet is
        # taken: 160 one-second tasks on 32 greenlets take 10 s, with 4 they take 5.
        prefetch_multiplier=worker.prefetch_multiplier or 4,
        max_memory_per_child=None,
        # Drain before the kernel's limit is reached: its kill loses a second
        # of acknowledgements of some hundred tasks.
        memory_limit=None if limit is None else limit * 9 // 10,
    )
