"""A Redis that does not let the worker in: said once, and the end where waiting cannot help."""

import logging
from typing import Any

from celery.exceptions import WorkerShutdown
from redis import ConnectionPool, Redis
from redis.exceptions import RedisError

from task_server.errors import ConfigError, Finding
from task_server.peers.redis import explain_redis_error, is_redis_auth_error
from task_server.worker.status.heartbeat import Heart

#: Seconds that the result backend has to accept a connection, and again to answer.
TIMEOUT = 2.0

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
        found = explain_redis_error("broker", connection.as_uri(), error)
        # One of several servers may let the worker in.
        alone = len(connection.alt or ()) < 2  # noqa: PLR2004
        if alone and is_redis_auth_error(error):
            self._end_at_start(found)
        self._heart.trouble(found.text)
        if found.text != self._said:
            # Celery repeats its own line at each attempt, without what to do.
            self._said = found.text
            logger.error("%s: %s", found.setting, found.text)

    def look_at_results(self, app: Any) -> None:
        """
        Ask the result backend of *app* where it is a Redis with a URL of its own.

        Raises:
            WorkerShutdown: As `told` does. One that does not answer is logged.
        """
        url = str(app.conf.result_backend or "")
        broker = app.conf.broker_read_url or app.conf.broker_url
        if self._heart.was_ready or url == broker or not url.startswith(("redis", "rediss")):
            return
        options = dict(app.backend.connparams)
        # A Unix socket has not both of them.
        timeouts = {"socket_timeout", "socket_connect_timeout"} & options.keys()
        pool = ConnectionPool(**{**options, **dict.fromkeys(timeouts, TIMEOUT)})
        try:
            Redis(connection_pool=pool).ping()
        except (RedisError, OSError) as error:
            found = explain_redis_error("result_backend", url, error)
            if is_redis_auth_error(error):
                self._end_at_start(found)
            logger.error("%s: %s", found.setting, found.text)  # noqa: TRY400 - one line says it
        finally:
            pool.disconnect()

    def _end_at_start(self, found: Finding) -> None:
        if self._heart.was_ready:
            return
        logger.critical("%s: %s", found.setting, found.text)
        raise WorkerShutdown(ConfigError.exit_code)
