"""The arithmetic of connections."""

from dataclasses import replace

from task_server.checks import ProjectFacts
from task_server.checks.connections import postgres_connections, redis_connections
from task_server.config.model import BUILT_IN_WORKERS
from task_server.launch.spec import WorkerSpec
from tests.support.specs import spec_of


def spec(name: str, concurrency: int) -> WorkerSpec:
    worker = replace(BUILT_IN_WORKERS[name], concurrency=concurrency, database_connections=20)
    return spec_of(worker)


def test_connections_to_redis_are_not_far_above_what_was_counted() -> None:
    """
    Counted on real workers: prefork 9 and 16 at 1 and 4 children, gevent 56 and 68 at 20 and 512.
    """
    assert [13, 19] == [redis_connections(spec("prefork", number)) for number in (1, 4)]
    assert [61, 85] == [redis_connections(spec("gevent", number)) for number in (20, 512)]


def test_a_projects_own_pools_count() -> None:
    """
    Where the project sets the size of a pool, that many greenlets use it at once.
    """
    facts = ProjectFacts(
        values={"redis_max_connections": 100},
        own={"redis_max_connections": "REDIS_MAX_CONNECTIONS"},
    )

    assert 153 == redis_connections(spec("gevent", 512), facts)


def test_greenlets_that_share_no_result_backend_count() -> None:
    """
    With Celery 5.6 each has a connection of its own to store its result.
    """
    facts = ProjectFacts(shares_results=False)

    assert 11 + 10 + 32 + 512 == redis_connections(spec("gevent", 512), facts)


def test_connections_to_postgresql() -> None:
    """
    A prefork child has one for each alias; under gevent the bound is for all aliases.
    """
    assert 8 == postgres_connections(spec("prefork", 4), aliases=[0, 0])
    assert 20 == postgres_connections(spec("gevent", 512), aliases=[0, 0])


def test_djangos_own_pool_counts_in_each_child() -> None:
    """
    A child opens one of psycopg's for itself, with as many connections as it says.
    """
    assert 4 * (1 + 8) == postgres_connections(spec("prefork", 4), aliases=[0, 8])
