"""The same tasks for huey."""

import os

from huey import RedisHuey
from recorded import record
from sent import Sent

huey = RedisHuey("bench", url=os.environ["BENCH_BROKER"])


# Huey keeps no result that is None.
@huey.task()
def nothing(number: int) -> None:
    """Do nothing."""
    record(number)


@huey.task()
def returned(number: int) -> int:
    """Do nothing, and keep the result."""
    record(number)
    return number


noop = Sent(nothing)
kept = Sent(returned)
