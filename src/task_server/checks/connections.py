"""How many connections a worker may hold: the arithmetic, and where its numbers are from."""

from task_server.checks.facts import Facts
from task_server.launch.profiles import Profile
from task_server.project.defaults import GREEN_CONNECTIONS

#: Connections to Redis of a worker's main process. One each for BRPOP,
#: commands, remote control and its commands, heartbeats, and the look at the
#: queues, one that tells of new messages, and one that renews the lease of what it
#: holds: 7 while it waits, 6 with Kombu's transport (CLIENT LIST; celery and kombu
#: 5.7). More for answers to Flower, for a message that is restored, and for the
#: result of a task whose process was killed.
REDIS_WORKER = 11

#: More for each prefork child whose tasks store results and call others: one
#: to store, one to call. Counted with the main process: 12 at concurrency 1, 16
#: at 3; `celery worker` has 13 at 1.
REDIS_CHILD = 2

#: More for each greenlet, one to acknowledge and one to store its result, up
#: to the size of the two pools, which these settings give. Counted, each task
#: storing a result and calling another: 56 at concurrency 20, 82 at 512.
REDIS_POOLS = ("broker_transport_options.max_connections", "redis_max_connections")

#: More for a gevent worker whose tasks call others: the pool of producers
#: (Celery's `broker_pool_limit`). A prefork child has its one in REDIS_CHILD.
REDIS_PRODUCERS = 10


def redis_connections(profile: Profile, facts: Facts | None = None) -> int:
    """Return the most connections to Redis that a worker of *profile* opens."""
    if profile.worker.pool == "gevent":
        own = facts or Facts()
        pools = [int(own.chosen(name) or GREEN_CONNECTIONS) for name in REDIS_POOLS]
        if not own.shares_results:
            # Each greenlet has one of its own, to store its result.
            pools[-1] = profile.concurrency
        shared = sum(min(profile.concurrency, size) for size in pools)
        return REDIS_WORKER + REDIS_PRODUCERS + shared
    return REDIS_WORKER + REDIS_CHILD * profile.concurrency


def postgres_connections(profile: Profile, aliases: int) -> int:
    """
    Return the most connections to PostgreSQL of a worker of *profile*.

    Under gevent the bound is for all aliases together. A prefork child runs
    one task at a time, which opens one connection for each alias it uses.
    """
    if profile.worker.pool == "gevent":
        return profile.worker.database_connections
    return profile.concurrency * aliases
