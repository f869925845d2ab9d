"""How many messages of each queue are dead letters, or cannot be read."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final, TypeVar

from task_server.monitor.model import Queue
from task_server.transport.store import dead_letters
from task_server.transport.store.keys import Keys
from task_server.transport.store.portions import scanned

T = TypeVar("T")

#: Records that are read for it, at most: one of a dead letter has its message.
MOST_DEAD: Final = 100
MOST_UNREADABLE: Final = 1_000

#: Dead letters of a queue that are named, and characters of a reason.
FEW: Final = 3
LONGEST: Final = 200


def with_undelivered(client: Any, keys: Keys, queues: Iterable[Queue]) -> Iterator[Queue]:
    """
    Return *queues* with the numbers of each; None where there are too many to be read.

    Raises:
        RedisError: When Redis does not answer, or refuses.
    """
    dead: dict[str, list[dead_letters.DeadLetter]] | None = None
    reasons: dict[str, list[str]] | None = None
    if client.hlen(keys.dead_letters) <= MOST_DEAD:
        letters = dead_letters.all_of(client, keys.dead_letters)
        latest = sorted(letters, key=lambda one: one.at, reverse=True)
        dead = _grouped((one.queue, one) for one in latest)
    if not client.llen(keys.unreadable):
        # Reasons may stay for a while.
        reasons = {}
    elif client.hlen(keys.unreadable_reasons) <= MOST_UNREADABLE:
        reasons = _grouped(_reasons(client, keys))
    for queue in queues:
        mine = [] if dead is None else dead.get(queue.name, [])
        why = [] if reasons is None else reasons.get(queue.name, [])
        yield replace(
            queue,
            dead=None if dead is None else len(mine),
            unreadable=None if reasons is None else len(why),
            dead_tasks=tuple(f"{one.task[:LONGEST]}[{one.id[:LONGEST]}]" for one in mine[:FEW]),
            why_unreadable=next(filter(None, why), ""),
        )


def _grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    """Return what belongs to each queue."""
    found: defaultdict[str, list[T]] = defaultdict(list)
    for queue, one in pairs:
        found[queue].append(one)
    return dict(found)


def _reasons(client: Any, keys: Keys) -> Iterator[tuple[str, str]]:
    """Return the queue that each message was in which cannot be read, and why it cannot."""
    for page in scanned(client, keys.unreadable_reasons):
        for text in page.values():
            try:
                found = json.loads(text)
                name, reason = found["list"], found.get("reason")
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue
            if isinstance(name, str):
                yield keys.queue_of(name), reason[:LONGEST] if isinstance(reason, str) else ""
