"""What each pool has to say about the numbers of a worker."""

from collections.abc import Callable
from dataclasses import dataclass


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
    The numbers that a pool chooses where neither the operator nor the project gives them.

    Attributes:
        concurrency: Tasks at once on a machine.

        prefetch_multiplier: Messages reserved for each place of the pool.

        child_memory: Bytes at which a child is replaced, from the bytes of the whole
            worker and its concurrency; 0 is never.

        drain_memory: Bytes at which the worker drains to be restarted, from the bytes of
            the whole worker; 0 is never.
    """

    concurrency: Callable[[Machine], int]
    prefetch_multiplier: int
    child_memory: Callable[[int, int], int]
    drain_memory: Callable[[int], int]
