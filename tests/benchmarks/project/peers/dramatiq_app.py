"""The same tasks for dramatiq."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from recorded import record
from sent import Sent

broker = RedisBroker(url=os.environ["BENCH_BROKER"])
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["BENCH_BROKER"])))
dramatiq.set_broker(broker)


@dramatiq.actor
def nothing(number: int) -> None:
    """Do nothing."""
    record(number)


@dramatiq.actor(store_results=True)
def returned(number: int) -> int:
    """Do nothing, and keep the result."""
    record(number)
    return number


noop = Sent(nothing.send)
kept = Sent(returned.send)
