"""How many connections a worker may open: the arithmetic, and the measurements behind it."""

from collections.abc import Sequence

from task_server.checks.facts import ProjectFacts
from task_server.launch.engine import central_reasons
from task_server.launch.spec import WorkerSpec

#: Connections to Redis of a worker's main process. One each for BRPOP,
#: commands, remote control and its commands, heartbeats, queue lengths,
#: notifications of new messages, and renewing leases: 7 while idle, 6 with
#: Kombu's transport (CLIENT LIST; celery and kombu 5.7). More for answers to
#: Flower, for restoring a message, and for the result of a task whose process
#: was killed.
REDIS_WORKER = 11

#: Additional ones for each prefork child whose tasks store results and call
#: others: one to store, one to call. Measured with the main process: 12 at
#: concurrency 1, 16 at 3; `celery worker` opens 13 at 1.
REDIS_CHILD = 2

#: One more for each child that fetches for itself (`fetch = "direct"`).
REDIS_FETCHING_CHILD = 1

#: Additional ones for each greenlet, one to acknowledge and one to store its
#: result, up to the sizes of the two pools, which these settings give. Measured,
#: each task storing a result and calling another: 56 at concurrency 20, 82 at 512.
REDIS_POOLS = ("broker_transport_options.max_connections", "redis_max_connections")

#: Additional ones for a gevent worker whose tasks call others: the producer pool
#: (Celery's `broker_pool_limit`). A prefork child has one, counted in REDIS_CHILD.
REDIS_PRODUCERS = 10


def redis_connections(spec: WorkerSpec, facts: ProjectFacts | None = None) -> int:
    """Return the most connections to Redis that the worker *spec* opens."""
    shared_pool = spec.pool_row.shared_redis_pool
    if shared_pool is not None:
        own = facts or ProjectFacts()
        pools = [int(own.chosen(name) or shared_pool) for name in REDIS_POOLS]
        if not own.shares_results:
            # Each greenlet opens its own, to store its result.
            pools[-1] = spec.concurrency
        shared = sum(min(spec.concurrency, size) for size in pools)
        return REDIS_WORKER + REDIS_PRODUCERS + shared
    fetches = spec.fetch == "direct" and not any(central_reasons(spec))
    child = REDIS_CHILD + (REDIS_FETCHING_CHILD if fetches else 0)
    return REDIS_WORKER + child * spec.concurrency


def postgres_connections(spec: WorkerSpec, aliases: Sequence[int]) -> int:
    """
    Return the most connections to PostgreSQL of the worker *spec*.

    Under gevent the limit covers all aliases together. A prefork child runs one
    task at a time, which opens one connection per alias, and keeps these for the
    next task: as many as it has while tasks run. Django's own pool of an alias
    may fill in each child. Threads that a task starts are not counted.

    Args:
        aliases: For each alias the size of Django's own pool; 0 if it has none.
    """
    if spec.pool_row.green:
        return spec.database_connections
    return spec.concurrency * sum(max(1, size) for size in aliases)
