"""
The pools that a worker can have: a row of facts each, which the rest reads in place of names.

A pool's name is also that of its modules: its numbers in `task_server.launch.profiles`,
and what differs inside the worker in `task_server.worker.pools`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """
    What is true of one of Celery's pools.

    Attributes:
        name: As `celery worker --pool` takes it.

        aliases: What else Celery calls it (`celery.concurrency.ALIASES`).

        green: Tasks are greenlets of one thread, which wait for each other; else each
            has a process of its own.

        soft_time_limits: They interrupt a task wherever it is, not only where it yields.

        shared_redis_pool: Connections that all tasks share to acknowledge, and again to
            store results; None if each task has its own.

        package: What it needs beside Celery: the package, the first version that is
            tested, and the first that is not.
    """

    name: str
    aliases: tuple[str, ...] = ()
    green: bool = False
    soft_time_limits: bool = True
    shared_redis_pool: int | None = None
    package: tuple[str, str, str | None] | None = None


#: The pool of a worker that names none, as in Celery.
DEFAULT = "prefork"

POOLS: Mapping[str, Pool] = MappingProxyType(
    {
        pool.name: pool
        for pool in (
            Pool(name="prefork", aliases=("processes",)),
            Pool(
                name="gevent",
                green=True,
                soft_time_limits=False,
                shared_redis_pool=32,
                package=("gevent", "25.5", None),
            ),
        )
    }
)
