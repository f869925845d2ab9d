"""The arithmetic of connections."""

from dataclasses import replace

from task_server.checks.bounds import postgres_connections, redis_connections
from task_server.config import BUILT_IN_WORKERS
from task_server.profiles import Machine, Profile, profile_of


def profile(name: str, concurrency: int) -> Profile:
    worker = replace(BUILT_IN_WORKERS[name], concurrency=concurrency, database_connections=20)
    return profile_of(worker, Machine(cores=1.0, memory=None))


def test_connections_to_redis_are_not_below_what_was_counted() -> None:
    """
    Counted on real workers: prefork 8 and 14 at 1 and 4 children, gevent 45 and 98 at 20 and 100.
    """
    assert [8, 14] == [redis_connections(profile("prefork", number)) for number in (1, 4)]
    assert 45 <= redis_connections(profile("gevent", 20)) <= 2 * 45
    assert 98 <= redis_connections(profile("gevent", 100)) <= 3 * 98


def test_connections_to_postgresql() -> None:
    """
    A prefork child has one for each alias; under gevent the bound is for all aliases.
    """
    assert 8 == postgres_connections(profile("prefork", 4), aliases=2)
    assert 20 == postgres_connections(profile("gevent", 512), aliases=2)
