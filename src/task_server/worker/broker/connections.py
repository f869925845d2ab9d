"""
Few connections to Redis for each worker, since hundreds of workers share one Redis.

- Each channel of Kombu opens a connection for BRPOP and SUBSCRIBE, for a PING. A
  channel that only publishes, such as that of each prefork child, never uses it
  again and keeps it. Here it is closed; channels that need it reopen it.
- Under gevent each task that acknowledges or stores its result takes a connection
  from a pool that raises when exhausted: the acknowledgement or the result is
  lost, and the task with it until the visibility timeout. Here the task waits for
  a connection, so a small pool serves hundreds of greenlets.
- A greenlet may close the connection that another one is about to use, as Celery
  does with a lost one. redis-py polls its socket first, and raises gevent's
  ValueError, which is no connection error: the acknowledgement was lost, and the
  task ran again an hour later.
- The result backend keeps its connections to a primary that became a replica, and
  each result is refused until the worker exits. Here they count as lost, and
  Celery replaces them, as in the atomic transport.
"""

from typing import Any

from celery.backends import redis as results
from kombu.transport import redis as transport
from redis import connection
from redis.exceptions import ConnectionError as RedisConnectionError

from task_server.config.pools import Pool
from task_server.transport.failover import reconnecting
from task_server.worker.patching import patch

#: Its types are not declared in every version.
WaitingPool: Any = connection.BlockingConnectionPool

#: Seconds that a greenlet waits for a connection; as long as for an answer of Redis.
POOL_TIMEOUT = 20


def install(pool: Pool) -> None:
    """Patch Kombu's transport and Celery's backend, for a worker with *pool*."""
    channel: Any = transport.Channel
    patch(channel, "__init__", _without_idle_connection(channel.__init__))
    backend: Any = results.RedisBackend
    if pool.shared_redis_pool is not None:
        patch(channel, "_get_pool", _waiting(channel._get_pool))  # noqa: SLF001
        patch(backend, "_get_pool", _new_pool)
        any_connection: Any = connection.AbstractConnection
        patch(any_connection, "can_read", _or_lost(any_connection.can_read))
    patch(backend, "_get_pool", _reconnecting(backend._get_pool))  # noqa: SLF001


def _without_idle_connection(init: Any) -> Any:
    def init_and_close(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self.async_pool.disconnect(inuse_connections=False)

    return init_and_close


def _waiting(get_pool: Any) -> Any:
    def get_waiting_pool(self: Any, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - Kombu's shape
        if asynchronous:
            # BRPOP and SUBSCRIBE keep two or three connections of it.
            return get_pool(self, asynchronous=True)
        plain = get_pool(self)
        return WaitingPool(
            connection_class=plain.connection_class,
            max_connections=self.max_connections,
            timeout=POOL_TIMEOUT,
            **plain.connection_kwargs,
        )

    return get_waiting_pool


def _new_pool(_: Any, **parameters: Any) -> Any:
    return WaitingPool(timeout=POOL_TIMEOUT, **parameters)


def _reconnecting(get_pool: Any) -> Any:
    def get_reconnecting_pool(self: Any, **parameters: Any) -> Any:
        kind = parameters.get("connection_class", connection.Connection)
        return get_pool(self, **{**parameters, "connection_class": reconnecting(kind)})

    return get_reconnecting_pool


def _or_lost(can_read: Any) -> Any:
    def can_read_or_lost(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return can_read(self, *args, **kwargs)
        except ValueError as error:
            self.disconnect()
            raise RedisConnectionError("another greenlet has closed the connection") from error

    return can_read_or_lost
