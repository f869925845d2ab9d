"""Each pool makes its own numbers of a worker and a machine."""

import pytest

from task_server.config.model import AUTO, WorkerConfig
from task_server.launch.profiles import Machine, profile_of

GIB = 2**30


@pytest.mark.parametrize(
    ("given", "cores", "expected"),
    [(None, 4.0, 4), (AUTO, 2.5, 2), (AUTO, 0.5, 1), (7, 2.0, 7)],
)
def test_prefork_has_a_child_for_each_processor_of_the_quota(
    given: int | None, cores: float, expected: int
) -> None:
    """
    `auto` counts what the cgroup allows, and at least one.
    """
    worker = WorkerConfig(name="w", concurrency=given)

    assert expected == profile_of(worker, Machine(cores=cores, memory=None)).concurrency


def test_prefork_children_share_the_memory_limit() -> None:
    """
    All the children and the main process fit under the cgroup's limit.
    """
    worker = WorkerConfig(name="w", concurrency=4)

    share = profile_of(worker, Machine(cores=4, memory=4 * GIB)).max_memory_per_child

    assert share is not None
    assert 0.75 * 4 * GIB < 4 * share < 4 * GIB


def test_a_given_share_and_a_given_limit_count() -> None:
    """
    A setting wins over what the machine says.
    """
    machine = Machine(cores=4, memory=64 * GIB)
    share = WorkerConfig(name="w", concurrency=1, max_memory_per_child=GIB)
    limit = WorkerConfig(name="w", concurrency=1, memory_limit=2 * GIB)

    assert GIB == profile_of(share, machine).max_memory_per_child
    assert (profile_of(limit, machine).max_memory_per_child or 0) < 2 * GIB


def test_without_a_limit_no_child_is_replaced() -> None:
    """
    A laptop has no cgroup limit; its children live on.
    """
    profile = profile_of(WorkerConfig(name="w"), Machine(cores=2, memory=None))

    assert (None, None) == (profile.max_memory_per_child, profile.memory_limit)


def test_gevent_drains_before_the_limit() -> None:
    """
    The gevent worker is restarted before the kernel would kill it.
    """
    worker = WorkerConfig(name="w", pool="gevent", memory_limit=GIB)

    profile = profile_of(worker, Machine(cores=1, memory=None))

    assert (512, 4) == (profile.concurrency, profile.prefetch_multiplier)
    assert 0.8 * GIB < (profile.memory_limit or 0) < GIB
