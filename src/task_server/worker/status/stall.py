"""How many messages wait in the queues, and whether this worker leaves them there."""

import logging
from typing import Any, Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from task_server.transport.store.keys import Keys

logger = logging.getLogger(__name__)

#: Seconds that reading the queues may block the worker's loop.
TIMEOUT = 2.0


class StallDetector:
    """Whether messages wait although this worker is idle, from one reading to the next."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None
        self._since: float | None = None

    def update(self, waiting: int, taken: int, now: float, *, idle: bool) -> float | None:
        """
        Return since when messages wait although this worker is idle; None if none do.

        Args:
            waiting: Messages in the queues now.

            taken: Messages that this worker has received in total.

            now: The time, on the clock of the result.

            idle: Whether the worker has free slots and no requests for them.
        """
        before, self._before = self._before, (waiting, taken)
        # Fewer than before: some worker consumes them.
        stuck = (
            idle
            and waiting > 0
            and before is not None
            and waiting >= before[0] > 0
            and before[1] == taken
        )
        if not stuck:
            self._since = None
        elif self._since is None:
            self._since = now
        return self._since


class QueueLengths:
    """
    The queues of *consumer*, seen over a connection of its own.

    The consumer's connection waits in BRPOP; and a look at the queues must not
    hold up the loop for long when Redis hangs, so this one has a time-out.

    Attributes:
        unreadable: How many messages were put aside as they cannot be
            delivered, at the last look; None if nobody knows.
    """

    def __init__(self, consumer: Any, channel: Any) -> None:
        self._consumer = consumer
        self._channel = channel
        self._pool = channel._get_pool()  # noqa: SLF001 - knows TLS, sockets and Sentinel
        options = self._pool.connection_kwargs
        options["socket_timeout"] = TIMEOUT
        options["retry"] = Retry(NoBackoff(), 0)
        if "socket_connect_timeout" in options:
            options["socket_connect_timeout"] = TIMEOUT
        self._client: Any = Redis(connection_pool=self._pool)
        self._keys = Keys.of(channel)
        self.unreadable: int | None = None

    @classmethod
    def of(cls, consumer: Any) -> Self | None:
        """Return the queues of *consumer*; None if its broker is not Redis."""
        channel = consumer.connection.default_channel
        return cls(consumer, channel) if hasattr(channel, "_q_for_pri") else None

    def read(self) -> dict[str, int] | None:
        """Return the messages in each queue that is consumed; None if Redis does not answer."""
        names = [queue.name for queue in self._consumer.task_consumer.queues]
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for name in names:
                    for key in self._keys.lists_of(name):
                        pipe.llen(key)
                pipe.llen(self._keys.unreadable)
                # One that is no list, or that this user may not see, hides no other.
                answers = pipe.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            logger.debug("the queues were not seen: %s", error)
            return None
        *counts, unreadable = (one if isinstance(one, int) else None for one in answers)
        # Those too that could not be put there.
        pending = getattr(self._channel, "pending", None)
        elsewhere = pending.unreadable if pending is not None else 0
        self.unreadable = (unreadable or 0) + elsewhere if elsewhere else unreadable
        width = len(self._keys.priority_steps)
        return {
            name: sum(count or 0 for count in counts[index * width : (index + 1) * width])
            for index, name in enumerate(names)
        }

    def close(self) -> None:
        """Close the connection."""
        self._pool.disconnect()
