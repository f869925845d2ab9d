"""The same tasks for rq."""

import os

from recorded import record
from redis import Redis
from rq import Queue
from sent import Sent

queue = Queue(connection=Redis.from_url(os.environ["BENCH_BROKER"]))


def nothing(number: int) -> None:
    """Do nothing."""
    record(number)


def returned(number: int) -> int:
    """Do nothing, and keep the result."""
    record(number)
    return number


noop = Sent(lambda number: queue.enqueue("rq_app.nothing", number, result_ttl=0))
kept = Sent(lambda number: queue.enqueue("rq_app.returned", number, result_ttl=3600))
