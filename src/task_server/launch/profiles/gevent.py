"""The gevent pool: one greenlet a task, for work that waits for the network."""

from task_server.launch.profiles.base import Machine, Profile

#: The size that CourtListener runs; a waiting greenlet costs some ten KiB.
CONCURRENCY = 512


def _concurrency(_: Machine) -> int:
    return CONCURRENCY


def _no_children(_memory: int, _concurrency: int) -> int:
    return 0


def _drain_memory(memory: int) -> int:
    # Drain before the kernel's limit is reached: its kill loses a second
    # of acknowledgements of some hundred tasks.
    return memory * 9 // 10


PROFILE = Profile(
    concurrency=_concurrency,
    # With a multiplier of 1 and late acknowledgement the worker stalls in
    # the transport's poll of two seconds as soon as every greenlet is
    # taken: 160 one-second tasks on 32 greenlets take 10 s, with 4 they take 5.
    prefetch_multiplier=4,
    child_memory=_no_children,
    drain_memory=_drain_memory,
)
