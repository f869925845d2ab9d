"""How many messages wait in the queues of a Redis."""

import logging
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from task_server.transport.store.keys import Keys

logger = logging.getLogger(__name__)


class QueueLengths:
    """
    Reads the lengths of queues.

    Args:
        client: A client of Redis that adds no prefix, as *keys* have it.

        keys: The keys of the broker.

    Attributes:
        unreadable: How many messages cannot be delivered, at the last reading; None if
            Redis does not say.
    """

    def __init__(self, client: Any, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self.unreadable: int | None = None

    def read(self, queues: Sequence[str]) -> dict[str, int] | None:
        """Return the messages in each of *queues*; None if Redis does not answer."""
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for queue in queues:
                    for key in self._keys.lists_of(queue):
                        pipe.llen(key)
                pipe.llen(self._keys.unreadable)
                # A key that is no list, or that this user may not read, hides no other.
                answers = pipe.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            logger.debug("the queues could not be read: %s", error)
            return None
        *counts, self.unreadable = (one if isinstance(one, int) else None for one in answers)
        width = len(self._keys.priority_steps)
        return {
            queue: sum(count or 0 for count in counts[index * width : (index + 1) * width])
            for index, queue in enumerate(queues)
        }
