"""A Redis that does not let the worker in: said once, and the end where waiting cannot help."""

import logging
from typing import Any

from celery.exceptions import WorkerShutdown

from task_server.errors import ConfigError
from task_server.reach import redis_trouble, refuses_redis
from task_server.worker.heartbeat import Heart

logger = logging.getLogger(__name__)


class Absence:
    """What *heart* and the log are told while there is no connection to Redis."""

    def __init__(self, heart: Heart) -> None:
        self._heart = heart
        self._said = ""

    def told(self, connection: Any, error: Exception) -> None:
        """
        Take note of *error*, with which *connection* failed.

        Raises:
            WorkerShutdown: With the code of a wrong configuration, when Redis
                refuses the password of a worker that has never been connected.
                Later it may be Redis that is being changed, so the worker waits.
        """
        found = redis_trouble("broker", connection.as_uri(), error)
        # One of several servers may let the worker in.
        alone = len(connection.alt or ()) < 2  # noqa: PLR2004
        if alone and refuses_redis(error) and not self._heart.was_ready:
            logger.critical("%s: %s", found.setting, found.text)
            raise WorkerShutdown(ConfigError.exit_code)
        self._heart.trouble(found.text)
        if found.text != self._said:
            # Celery repeats its own line at each attempt, without what to do.
            self._said = found.text
            logger.error("%s: %s", found.setting, found.text)
