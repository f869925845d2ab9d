"""A Redis that refuses the worker: logged once, and fatal where waiting cannot help."""

import logging
from typing import Any

from celery.exceptions import WorkerShutdown
from redis import ConnectionPool, Redis
from redis.exceptions import RedisError

from task_server.errors import ConfigError, Finding
from task_server.peers.redis import explain_redis_error, is_redis_auth_error
from task_server.worker.status.heartbeat import HeartbeatWriter

logger = logging.getLogger(__name__)


class BrokerOutage:
    """
    Reports to *heartbeat* and the log why there is no connection to Redis.

    Args:
        timeout: Seconds that the result backend has to accept a connection, and again to answer.
    """

    def __init__(self, heartbeat: HeartbeatWriter, timeout: float) -> None:
        self._heartbeat = heartbeat
        self._timeout = timeout
        self._logged = ""

    def report(self, connection: Any, error: Exception) -> None:
        """
        Report *error*, with which *connection* failed.

        Raises:
            WorkerShutdown: With the code of a wrong configuration, when Redis
                refuses the password of a worker that has never been connected.
                Later it may be Redis that is being changed, so the worker waits.
        """
        found = explain_redis_error("broker", connection.as_uri(), error)
        # Another of several servers may accept the worker.
        alone = len(connection.alt or ()) < 2  # noqa: PLR2004
        if alone and is_redis_auth_error(error):
            self._end_at_start(found)
        self._heartbeat.broker_error(found.text)
        if found.text != self._logged:
            # Celery logs its own line at each attempt, without what to do.
            self._logged = found.text
            logger.error("%s: %s", found.setting, found.text)

    def check_result_backend(self, app: Any) -> None:
        """
        Connect to the result backend of *app*, if it is a Redis other than the broker.

        Raises:
            WorkerShutdown: As `report` does. One that does not answer is logged.
        """
        url = str(app.conf.result_backend or "")
        broker = app.conf.broker_read_url or app.conf.broker_url
        if self._heartbeat.was_ready or url == broker or not url.startswith(("redis", "rediss")):
            return
        options = dict(app.backend.connparams)
        # A Unix socket has not both of them.
        timeouts = {"socket_timeout", "socket_connect_timeout"} & options.keys()
        pool = ConnectionPool(**{**options, **dict.fromkeys(timeouts, self._timeout)})
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
        if self._heartbeat.was_ready:
            return
        logger.critical("%s: %s", found.setting, found.text)
        raise WorkerShutdown(ConfigError.exit_code)
