"""How many messages of each queue are dead letters, or cannot be read."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from task_server.monitor.model import Queue
from task_server.transport.store import dead_letters
from task_server.transport.store.keys import Keys
from task_server.transport.store.portions import scanned

#: Records that are read for it, at most: one of a dead letter has its message.
MOST_DEAD: Final = 100
MOST_UNREADABLE: Final = 1_000


def with_undelivered(client: Any, keys: Keys, queues: Iterable[Queue]) -> Iterator[Queue]:
    """
    Return *queues* with the numbers of each; None where there are too many to be read.

    Raises:
        RedisError: When Redis does not answer, or refuses.
    """
    dead = unreadable = None
    if client.hlen(keys.dead_letters) <= MOST_DEAD:
        dead = Counter(one.queue for one in dead_letters.all_of(client, keys.dead_letters))
    if not client.llen(keys.unreadable):
        # Reasons may stay for a while.
        unreadable = Counter[str]()
    elif client.hlen(keys.unreadable_reasons) <= MOST_UNREADABLE:
        unreadable = Counter(_queues(client, keys))
    for queue in queues:
        yield replace(
            queue,
            dead=None if dead is None else dead[queue.name],
            unreadable=None if unreadable is None else unreadable[queue.name],
        )


def _queues(client: Any, keys: Keys) -> Iterator[str]:
    """Return the queue that each message was in which cannot be read."""
    for page in scanned(client, keys.unreadable_reasons):
        for text in page.values():
            try:
                name = json.loads(text)["list"]
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
            if isinstance(name, str):
                yield keys.queue_of(name)
