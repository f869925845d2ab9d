"""
The worker registers in Redis, with each sign of life of its loop.

So `task-server status` sees it without asking it: who it is, what it consumes, since when its
oldest tasks run, and what it has finished. It writes over the connection that reads the lengths of
the queues.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from socket import gethostname
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from task_server.health.heartbeat import Heartbeat
from task_server.transport.store import workers
from task_server.transport.store.keys import Keys
from task_server.transport.store.owner import RUN_ID
from task_server.worker.status.statistics import Statistics
from task_server.worker.status.stuck import Stuck

logger: Final = logging.getLogger(__name__)

#: Running tasks whose start it says, the oldest ones.
MOST_RUNNING: Final = 50

#: Stopped children that it names, and characters of why it is not ready.
MOST_STOPPED: Final = 20
MOST_TEXT: Final = 500


class Registration:
    """
    What one worker process says of itself.

    Args:
        interval: Seconds between two registrations.

        statistics: What its processes have finished.

        machine: Name of the machine, where the host is a container of it; else "".

    Attributes:
        obeys: Whether it takes nothing from a paused queue, nor while its node is drained.
    """

    def __init__(self, interval: float, statistics: Statistics, *, machine: str = "") -> None:
        self.interval = interval
        self._statistics = statistics
        self._constant = {
            "host": gethostname(),
            **({"machine": machine} if machine else {}),
            "version": version("task-server"),
        }
        self._at = 0.0
        self._is_first = True
        self._state: tuple[str, float] = ("", 0.0)
        self._is_denied = False
        self._consumed: set[str] = set()
        self._lengths_at: float | None = None
        self.obeys = False

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next."""
        return time.monotonic() - self._at >= self.interval

    def write(
        self,
        client: Any,
        keys: Keys,
        heartbeat: Heartbeat,
        queues: Iterable[str],
        running: Iterable[Any],
        *,
        stuck: Stuck,
    ) -> bool:
        """
        Register, and write what was finished; return whether Redis has it now.

        It has not if it does not answer, or this user may not.

        Args:
            client: A Redis client that adds no prefix.

            running: Celery's requests whose tasks run.
        """
        self._at = time.monotonic()
        self._consumed.update(queues)
        self._statistics.collect(self._consumed)
        values = self._values(heartbeat, queues, running, stuck)
        lengths = self._lengths(heartbeat)
        try:
            while True:
                batch = self._statistics.next()
                workers.register(
                    client,
                    keys,
                    RUN_ID,
                    values,
                    batch=batch,
                    lengths=lengths,
                    first=self._is_first,
                )
                self._statistics.confirm()
                self._is_first = self._is_denied = False
                lengths = {}
                if self._statistics.next() is None:
                    return True
        except ResponseError as error:
            if not self._is_denied:
                self._is_denied = True
                logger.warning("`task-server status` will not show this worker: %s", error)
        except (RedisError, OSError) as error:
            logger.debug("the worker could not be registered: %s", error)
        return False

    def remove(self, client: Any, keys: Keys) -> None:
        """Take the worker out: it ends."""
        try:
            workers.remove(client, keys, RUN_ID)
        except (RedisError, OSError) as error:
            logger.debug("the worker stays registered: %s", error)

    def _lengths(self, heartbeat: Heartbeat) -> dict[str, int]:
        """Return the lengths of the queues, if they were read since the last registration."""
        if heartbeat.queues_seen is None or heartbeat.queues_seen == self._lengths_at:
            return {}
        self._lengths_at = heartbeat.queues_seen
        return dict(heartbeat.queues)

    def _values(
        self, heartbeat: Heartbeat, queues: Iterable[str], running: Iterable[Any], stuck: Stuck
    ) -> dict[str, Any]:
        now = time.monotonic()
        running = list(running)
        longest = _longest(running)
        state = "draining" if heartbeat.drained else heartbeat.state
        if state != self._state[0]:
            self._state = (state, now)
        return {
            **self._constant,
            "node": heartbeat.node or heartbeat.name,
            "pid": heartbeat.pid,
            "pool": heartbeat.pool,
            "state": state,
            "state_for": round(now - self._state[1], 3),
            "interval": self.interval,
            "concurrency": heartbeat.concurrency,
            "active": heartbeat.active,
            "reserved": heartbeat.reserved,
            "processed": heartbeat.processed,
            "ended": dict(self._statistics.ends),
            "queues": sorted(queues),
            "running": _seconds(longest),
            "limits": _limits(longest),
            "pids": _pids(longest, heartbeat.pid),
            "stopped": _stopped(stuck.children, running, now),
            "unready": stuck.unready[:MOST_TEXT],
            "stops": self.obeys,
        }


def _longest(running: Iterable[Any]) -> dict[str, Any]:
    """Return the requests whose tasks run for longest, the longest first, by delivery tag."""
    started = [request for request in running if request.time_start is not None]
    started.sort(key=lambda request: request.time_start)
    return {str(request.message.delivery_tag): request for request in started[:MOST_RUNNING]}


def _seconds(requests: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return for how many seconds the tasks of *requests* run."""
    now = time.time()
    return [(tag, round(now - request.time_start, 3)) for tag, request in requests.items()]


def _limits(requests: Mapping[str, Any]) -> dict[str, float]:
    """Return for how many seconds they may run; those without a limit are left out."""
    limits = {tag: limit_of(request) for tag, request in requests.items()}
    return {tag: limit for tag, limit in limits.items() if limit is not None}


def _pids(requests: Mapping[str, Any], main: int) -> dict[str, int]:
    """Return the children that run *requests*; none where the process *main* does."""
    pids = {tag: request.worker_pid for tag, request in requests.items()}
    return {tag: pid for tag, pid in pids.items() if pid and pid != main}


def _stopped(
    children: Mapping[int, float], running: Iterable[Any], now: float
) -> list[tuple[int, float, str]]:
    """Return the first stopped *children*: pid, for how many seconds, the tag of what it runs."""
    if not children:
        return []
    tags = {request.worker_pid: str(request.message.delivery_tag) for request in running}
    first = sorted(children.items(), key=lambda one: one[1])[:MOST_STOPPED]
    return [(pid, round(max(0.0, now - since), 3), tags.get(pid, "")) for pid, since in first]


def limit_of(request: Any) -> float | None:
    """Return the time limit of *request* in seconds: the hard one, else the soft one; or None."""
    hard, soft = request.time_limits
    limit = hard or request.task.time_limit or soft or request.task.soft_time_limit
    return float(limit) if isinstance(limit, int | float) else None
