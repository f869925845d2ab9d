"""The broker of an app: whether it is a Redis, and a client of one's own."""

from typing import Any

from redis import Redis

from task_server.transport.store.keys import Keys

#: Kombu's name of what speaks to a Redis, Sentinel's and ours included.
REDIS = "redis"


def is_redis(app: Any) -> bool:
    """Whether *app* sends to a Redis."""
    with app.connection_for_write() as connection:
        return bool(connection.transport.driver_type == REDIS)


class BrokerClient:
    """
    A connection to the Redis that *app* sends to; with its prefix, virtual host and Sentinels.

    Args:
        seconds: Within which it must answer.
    """

    def __init__(self, app: Any, seconds: float) -> None:
        self._app = app
        self._seconds = seconds
        self._connection: Any = None
        self._opened: tuple[Any, Keys] | None = None

    def open(self) -> tuple[Any, Keys]:
        """
        Return a client that adds no prefix, and the complete keys.

        Behind Sentinel it is asked for the primary each time: one that was stopped, and goes
        on, answers as a primary for seconds, while another beat has the lock of the new one.

        Raises:
            redis.exceptions.RedisError, OSError: When it does not answer, or refuses.
        """
        if self._opened is None:
            self._connection = self._app.connection_for_write()
            options = self._connection.transport_options
            for name in ("socket_timeout", "socket_connect_timeout"):
                given = options.get(name)
                options[name] = min(self._seconds, given) if given else self._seconds
            transport = self._connection.transport
            # Not `connection.connect()`, which retries for seconds.
            channel = transport.create_channel(transport)
            self._opened = Redis(connection_pool=channel.pool), Keys.of(channel)
        client, _ = self._opened
        # Of Sentinel's pools alone. It leaves a primary of before.
        find_primary = getattr(client.connection_pool, "get_master_address", None)
        if find_primary is not None:
            find_primary()
        return self._opened

    def close(self) -> None:
        """Close it."""
        self._opened = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()
