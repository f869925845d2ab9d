"""
Few connections to Redis for each worker, since hundreds of workers share one Redis.

- Each channel of Kombu asks PING on a connection for BRPOP and SUBSCRIBE. A
  channel that only publishes, such as that of each prefork child, never uses
  it again and holds it for ever. Here it is closed, and opened anew by those
  that do.
- Under gevent each task that acknowledges or stores its result takes a
  connection of a pool that refuses when it is full: the acknowledgement or the
  result is lost, and the task with it until the visibility timeout. Here it
  waits for its turn, so a small pool is enough for hundreds of greenlets.
- A greenlet may close the connection that another one is about to use, as
  Celery does when one is lost. redis-py tries its socket first, and fails with
  a ValueError of gevent's, which nobody takes for a lost connection: the
  acknowledgement was gone, and the task was run again an hour later.
- The result backend keeps its connections to a primary that became a replica,
  and each result is refused for as long as the worker lives. Here they are
  lost ones, which Celery replaces, as in the atomic transport.
"""

from typing import Any

from celery.backends import redis as results
from kombu.transport import redis as transport
from redis import connection
from redis.exceptions import ConnectionError as RedisConnectionError

from task_server.config.pools import Pool
from task_server.transport.failover import reconnecting
from task_server.worker.patches import patch

#: Its types are not declared in every version.
WaitingPool: Any = connection.BlockingConnectionPool

#: Seconds that a greenlet waits for its turn; as long as a silent Redis is waited for.
TURN = 20


def install(pool: Pool) -> None:
    """Fasten this to Kombu's transport and Celery's backend, for a worker with *pool*."""
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
            # Those that wait in it hold two or three connections, for ever.
            return get_pool(self, asynchronous=True)
        plain = get_pool(self)
        return WaitingPool(
            connection_class=plain.connection_class,
            max_connections=self.max_connections,
            timeout=TURN,
            **plain.connection_kwargs,
        )

    return get_waiting_pool


def _new_pool(_: Any, **parameters: Any) -> Any:
    return WaitingPool(timeout=TURN, **parameters)


def _reconnecting(get_pool: Any) -> Any:
    def get_leaving_pool(self: Any, **parameters: Any) -> Any:
        kind = parameters.get("connection_class", connection.Connection)
        return get_pool(self, **{**parameters, "connection_class": reconnecting(kind)})

    return get_leaving_pool


def _or_lost(can_read: Any) -> Any:
    def can_read_or_lost(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return can_read(self, *args, **kwargs)
        except ValueError as error:
            self.disconnect()
            raise RedisConnectionError("another greenlet has closed the connection") from error

    return can_read_or_lost
