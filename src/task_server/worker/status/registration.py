"""
The worker registers in Redis, with each sign of life of its loop.

So `task-server status` sees it without asking it: who it is, what it consumes, and since when
its oldest tasks run. It writes over the connection that reads the lengths of the queues.
"""

import logging
import time
from collections.abc import Iterable
from importlib.metadata import version
from socket import gethostname
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from task_server.health.heartbeat import Heartbeat
from task_server.transport.store import workers
from task_server.transport.store.keys import Keys
from task_server.transport.store.owner import RUN_ID

logger: Final = logging.getLogger(__name__)

#: Running tasks whose start it says, the oldest ones.
MOST_RUNNING: Final = 50


class Registration:
    """
    What one worker process says of itself.

    Args:
        interval: Seconds between two registrations.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._constant = {"host": gethostname(), "version": version("task-server")}
        self._at = 0.0
        self._is_first = True
        self._state: tuple[str, float] = ("", 0.0)
        self._is_denied = False

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
    ) -> None:
        """
        Register, unless Redis does not answer, or this user may not.

        Args:
            client: A Redis client that adds no prefix.

            running: Celery's requests whose tasks run.
        """
        self._at = time.monotonic()
        values = self._values(heartbeat, queues, running)
        try:
            workers.register(client, keys, RUN_ID, values, first=self._is_first)
        except ResponseError as error:
            if not self._is_denied:
                self._is_denied = True
                logger.warning("`task-server status` will not show this worker: %s", error)
        except (RedisError, OSError) as error:
            logger.debug("the worker could not be registered: %s", error)
        else:
            self._is_first = self._is_denied = False

    def remove(self, client: Any, keys: Keys) -> None:
        """Take the worker out: it ends."""
        try:
            workers.remove(client, keys, RUN_ID)
        except (RedisError, OSError) as error:
            logger.debug("the worker stays registered: %s", error)

    def _values(
        self, heartbeat: Heartbeat, queues: Iterable[str], running: Iterable[Any]
    ) -> dict[str, Any]:
        now = time.monotonic()
        if heartbeat.state != self._state[0]:
            self._state = (heartbeat.state, now)
        return {
            **self._constant,
            "node": heartbeat.node or heartbeat.name,
            "pid": heartbeat.pid,
            "pool": heartbeat.pool,
            "state": heartbeat.state,
            "state_for": round(now - self._state[1], 3),
            "interval": self.interval,
            "concurrency": heartbeat.concurrency,
            "active": heartbeat.active,
            "reserved": heartbeat.reserved,
            "processed": heartbeat.processed,
            "queues": sorted(queues),
            "running": _oldest(running),
        }


def _oldest(running: Iterable[Any]) -> list[tuple[str, float]]:
    """Return the delivery tags of the tasks that run for longest, with their seconds."""
    now = time.time()
    started = [
        (request.time_start, str(request.message.delivery_tag))
        for request in running
        if request.time_start is not None
    ]
    return [(tag, round(now - start, 3)) for start, tag in sorted(started)[:MOST_RUNNING]]
