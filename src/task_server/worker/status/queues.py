"""The queues that a worker consumes, read over a connection of its own."""

import logging
from collections.abc import Iterable
from typing import Any, Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from task_server.health.heartbeat import Heartbeat
from task_server.peers.queues import QueueLengths
from task_server.transport.store import stops
from task_server.transport.store.keys import Keys
from task_server.transport.store.stops import Stops
from task_server.worker.status.registration import Registration
from task_server.worker.status.stuck import Stuck

logger = logging.getLogger(__name__)


class ConsumedQueues:
    """
    The queues of *consumer*.

    The consumer's connection waits in BRPOP, and reading the queues must not block the loop
    for long when Redis hangs; so this one is its own, with a time-out.

    Args:
        timeout: Seconds for a connection, and again for each answer.
    """

    def __init__(self, consumer: Any, channel: Any, timeout: float) -> None:
        self._consumer = consumer
        self._channel = channel
        self._pool = channel._get_pool()  # noqa: SLF001 - knows TLS, sockets and Sentinel
        options = self._pool.connection_kwargs
        options["socket_timeout"] = timeout
        options["retry"] = Retry(NoBackoff(), 0)
        if "socket_connect_timeout" in options:
            options["socket_connect_timeout"] = timeout
        self._client = Redis(connection_pool=self._pool)
        self._keys = Keys.of(channel)
        self._lengths = QueueLengths(self._client, self._keys)

    @classmethod
    def of(cls, consumer: Any, timeout: float) -> Self | None:
        """Return the queues of *consumer*; None if its broker is not Redis."""
        channel = consumer.connection.default_channel
        return cls(consumer, channel, timeout) if hasattr(channel, "_q_for_pri") else None

    @property
    def unreadable(self) -> int | None:
        """How many messages cannot be delivered, at the last reading; None if unknown."""
        counted = self._lengths.unreadable
        # Those too that could not be moved to their list.
        pending = getattr(self._channel, "pending", None)
        elsewhere = pending.unreadable if pending is not None else 0
        return (counted or 0) + elsewhere if elsewhere else counted

    def read(self) -> dict[str, int] | None:
        """Return the messages in each consumed queue; None if Redis does not answer."""
        return self._lengths.read(self._names())

    def register(
        self, registration: Registration, heartbeat: Heartbeat, running: Iterable[Any], stuck: Stuck
    ) -> None:
        """Register the worker that consumes them, with its *heartbeat* and *running* requests."""
        names = self._names()
        # With Kombu's transport it takes a message by a command that looks at nothing else.
        registration.obeys = hasattr(self._channel, "fetcher")
        registration.write(self._client, self._keys, heartbeat, names, running, stuck=stuck)

    def stops(self, node: str) -> Stops | None:
        """Return what is stopped of the worker *node*; None if Redis does not answer."""
        try:
            return stops.of(self._client, self._keys, self._names(), node)
        except (RedisError, OSError) as error:
            logger.debug("what is paused could not be read: %s", error)
            return None

    def leave(self, registration: Registration) -> None:
        """Take the worker out again, which ends."""
        registration.remove(self._client, self._keys)

    def _names(self) -> list[str]:
        return [queue.name for queue in self._consumer.task_consumer.queues]

    def close(self) -> None:
        """Close the connection."""
        self._pool.disconnect()
