"""How many messages of each queue are dead letters, or cannot be read."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, Final, TypeVar

from task_server.monitor.model import Queue
from task_server.transport.store.dead_letters import DeadLetter
from task_server.transport.store.keys import Keys
from task_server.transport.store.portions import scanned

T = TypeVar("T")

#: Records that are read for it, at most; of unreadable messages there are no more reasons. And
#: for how many seconds: that of a dead letter has its message, which may be large.
MOST: Final = 10_000
SECONDS: Final = 0.3

#: Dead letters of a queue that are named, and characters of a reason.
FEW: Final = 3
LONGEST: Final = 200


def with_undelivered(client: Any, keys: Keys, queues: Iterable[Queue]) -> Iterator[Queue]:
    """
    Return *queues* with the numbers of each; None where that is not known.

    Raises:
        RedisError: When Redis does not answer, or refuses.
    """
    dead = _dead(client, keys)
    total = client.llen(keys.unreadable)
    # Reasons may stay for a while.
    is_known = not total or client.hlen(keys.unreadable_reasons) <= MOST
    reasons = _grouped(_reasons(client, keys)) if total and is_known else {}
    counts = _counted(reasons, total) if is_known else None
    for queue in queues:
        mine = [] if dead is None else dead.get(queue.name, [])
        why = reasons.get(queue.name, [])
        yield replace(
            queue,
            dead=None if dead is None else len(mine),
            unreadable=None if counts is None else counts.get(queue.name, 0),
            dead_tasks=tuple(f"{one.task[:LONGEST]}[{one.id[:LONGEST]}]" for one in mine[:FEW]),
            why_unreadable=next(filter(None, why), ""),
        )


def _dead(client: Any, keys: Keys) -> dict[str, list[DeadLetter]] | None:
    """Return the dead letters of each queue, the latest first; None if they are too many."""
    if client.hlen(keys.dead_letters) > MOST:
        return None
    # By tag: a scan may name one twice.
    found: dict[bytes, DeadLetter] = {}
    end = monotonic() + SECONDS
    for page in scanned(client, keys.dead_letters):
        found |= {tag: DeadLetter.read("", record) for tag, record in page.items()}
        if monotonic() > end:
            return None
    latest = sorted(found.values(), key=lambda one: one.at, reverse=True)
    return _grouped((one.queue, one) for one in latest)


def _counted(reasons: Mapping[str, Sequence[str]], total: int) -> dict[str, int] | None:
    """Return how many of *total* messages each queue has, by their *reasons*; None if unsure."""
    if len(reasons) == 1:
        return dict.fromkeys(reasons, total)
    found = {queue: len(some) for queue, some in reasons.items()}
    # Messages that are the same have one reason, and so many have one at all.
    return found if sum(found.values()) >= total else None


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
