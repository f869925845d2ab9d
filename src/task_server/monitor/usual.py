"""
How long tasks usually run, and messages usually wait.

Of each hour of the last day the time that 95 of 100 did not exceed, and of these hours the middle
one: an incident of an hour or of some does not become what is usual.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from statistics import median
from typing import Any, Final

from task_server.monitor.counts import Finished, Histogram
from task_server.monitor.statistics import AT_ONCE, added, finished
from task_server.transport.store import statistics
from task_server.transport.store.keys import Keys
from task_server.transport.store.statistics import TEN_MINUTES, Row

#: The share that does not exceed it.
SHARE: Final = 0.95

#: With fewer nothing is usual.
FEWEST: Final = 20

#: Rows that are read for it, at most.
MOST: Final = 200

HOUR: Final = 3_600


def usual(
    client: Any,
    keys: Keys,
    rows: Iterable[Row],
    *,
    tasks: Collection[str],
    queues: Collection[str],
    now: float,
) -> tuple[dict[str, float], dict[str, float]]:
    """
    Return how long *tasks* usually run, and messages of *queues* wait, in seconds, by name.

    What has not ended often enough is left out.

    Args:
        rows: Every task and queue of which there may be statistics.

    Raises:
        RedisError: When Redis does not answer.
    """
    wanted = [row for row in rows if row[0] in tasks or row[1] in queues][:MOST]
    if not wanted:
        return {}, {}
    hours = _by_hour(client, keys, wanted, now)
    ran = {
        name: [added(one for row, one in hour.items() if row[0] == name).ran for hour in hours]
        for name in tasks
    }
    waited = {
        name: [added(one for row, one in hour.items() if row[1] == name).waited for hour in hours]
        for name in queues
    }
    return _usual(ran), _usual(waited)


def _by_hour(client: Any, keys: Keys, rows: list[Row], now: float) -> list[Mapping[Row, Finished]]:
    starts = TEN_MINUTES.starts(now)
    found: defaultdict[int, dict[Row, Finished]] = defaultdict(dict)
    for first in range(0, len(starts), AT_ONCE):
        some = starts[first : first + AT_ONCE]
        names = [keys.statistics_of(TEN_MINUTES.seconds, start) for start in some]
        for start, numbers in zip(some, statistics.read_some(client, names, rows), strict=True):
            hour = found[start // HOUR]
            for row, one in numbers.items():
                hour[row] = hour.get(row, Finished()) + finished(one)
    return list(found.values())


def _usual(hours: Mapping[str, list[Histogram]]) -> dict[str, float]:
    found = {}
    for name, every in hours.items():
        if sum(one.count for one in every) >= FEWEST:
            found[name] = median(
                seconds for one in every if (seconds := one.quantile(SHARE)) is not None
            )
    return found
