"""The profile: one worker, decided."""

from dataclasses import dataclass

from task_server.config.model import WorkerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """
    What the cgroup (or the machine) allows.

    Attributes:
        cores: Processors that may be used at once, such as 2 or 0.5.

        memory: Bytes of the cgroup's limit; None where there is none.
    """

    cores: float
    memory: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """
    The numbers a worker runs with; nothing is left to be guessed later.

    Attributes:
        concurrency: Tasks at once.

        prefetch_multiplier: Messages reserved for each place of the pool.

        max_memory_per_child: Bytes at which a child is replaced; None is never.

        memory_limit: Bytes at which the worker drains to be restarted; None is never.
    """

    worker: WorkerConfig
    concurrency: int
    prefetch_multiplier: int
    max_memory_per_child: int | None
    memory_limit: int | None
