"""How many connections a worker may hold: the arithmetic, and where its numbers are from."""

from task_server.profiles import Profile

#: Connections to Redis of a worker that waits: two for commands, one each for
#: BRPOP, remote control, its answers and the result backend. Counted with
#: CLIENT LIST on a prefork and on a gevent worker without gossip, mingle and
#: events (celery 5.7, kombu 5.7). Stock workers hold more: 50 of concurrency 1
#: had 631, so 12.6 each.
REDIS_WORKER = 6

#: More for each prefork child whose tasks store results and call others: one
#: to store, one to call. Counted: 8 at concurrency 1, 14 at 4.
REDIS_CHILD = 2

#: More for each greenlet at worst: one of the transport, to acknowledge, and
#: one of the result backend. Both are pools that grow to the number of tasks
#: that wait for Redis at the same moment, so few workers come near it: counted
#: 45 at concurrency 20 and 98 at 100, each task storing a result and calling
#: another.
REDIS_GREENLET = 2

#: More for a gevent worker whose tasks call others: the pool of producers
#: (Celery's `broker_pool_limit`). A prefork child has its one in REDIS_CHILD.
REDIS_PRODUCERS = 10


def redis_connections(profile: Profile) -> int:
    """Return the most connections to Redis that a worker of *profile* opens."""
    if profile.worker.pool == "gevent":
        return REDIS_WORKER + REDIS_PRODUCERS + REDIS_GREENLET * profile.concurrency
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
