"""Each pool makes its own numbers of a worker and a machine."""

import pkgutil

import pytest

from task_server.config.model import AUTO, WorkerConfig
from task_server.config.pools import POOLS
from task_server.launch import profiles
from task_server.launch.profiles import PROFILES, Machine
from tests.support.specs import spec_of

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

    assert expected == spec_of(worker, Machine(cores=cores, memory=None)).concurrency


def test_prefork_children_share_the_memory_limit() -> None:
    """
    All the children and the main process fit under the cgroup's limit.
    """
    worker = WorkerConfig(name="w", concurrency=4)

    share = spec_of(worker, Machine(cores=4, memory=4 * GIB)).max_memory_per_child

    assert 0.75 * 4 * GIB < 4 * share < 4 * GIB


def test_a_given_share_and_a_given_limit_count() -> None:
    """
    A setting wins over what the machine says.
    """
    machine = Machine(cores=4, memory=64 * GIB)
    share = WorkerConfig(name="w", concurrency=1, max_memory_per_child=GIB)
    limit = WorkerConfig(name="w", concurrency=1, memory_limit=2 * GIB)

    assert GIB == spec_of(share, machine).max_memory_per_child
    assert spec_of(limit, machine).max_memory_per_child < 2 * GIB


def test_without_a_limit_no_child_is_replaced() -> None:
    """
    A laptop has no cgroup limit; its children live on.
    """
    spec = spec_of(WorkerConfig(name="w"), Machine(cores=2, memory=None))

    assert (0, 0) == (spec.max_memory_per_child, spec.memory_limit)


def test_gevent_drains_before_the_limit() -> None:
    """
    The gevent worker is restarted before the kernel would kill it.
    """
    worker = WorkerConfig(name="w", pool="gevent", memory_limit=GIB)

    spec = spec_of(worker, Machine(cores=1, memory=None))

    assert (512, 4) == (spec.concurrency, spec.prefetch_multiplier)
    assert 0.8 * GIB < spec.memory_limit < GIB


def test_each_pool_has_its_numbers() -> None:
    """
    A pool that the configuration knows has a profile, and no other has one.
    """
    modules = {module.name for module in pkgutil.iter_modules(profiles.__path__)} - {"base"}

    assert set(POOLS) == set(PROFILES) == modules
