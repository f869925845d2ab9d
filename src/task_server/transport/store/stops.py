"""
What is stopped by hand: queues that are paused, and nodes that are drained.

Two hashes under the name of the unacked messages: the paused queues, each by the first of
its lists as the fetch has it among its keys, and the drained nodes, each by its name. A
value says who, and since when: JSON. The fetch looks at both in the step in which it would
take something, so that no message of a paused queue is taken after the reply to `pause`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

from task_server.transport.store.keys import Keys
from task_server.transport.store.portions import scanned

#: Stops of one kind that are read: anyone can write more.
MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Stop:
    """
    One stop.

    Attributes:
        at: Since when, in seconds since 1970, by the server's clock; None if it does not say.

        who: Who stopped it; '' if it does not say.
    """

    at: float | None
    who: str


@dataclass(frozen=True, slots=True)
class Stops:
    """
    What stops one worker.

    Attributes:
        queues: Those of its queues that are paused.

        drain: The drain of its node; None if there is none.
    """

    queues: Mapping[str, Stop] = field(default_factory=dict)
    drain: Stop | None = None

    def __bool__(self) -> bool:
        """Return whether anything is stopped."""
        return bool(self.queues or self.drain)


def field_of(keys: Keys, queue: str) -> str:
    """Return the field of *queue* among the paused: its first list, with the prefix."""
    return keys.lists_of(queue)[0]


def paused(client: Any, keys: Keys) -> dict[str, Stop]:
    """
    Return the paused queues.

    Args:
        client: A Redis client that adds no prefix, here and below.

    Raises:
        RedisError: When Redis does not answer, or refuses.
    """
    return {keys.queue_of(name): one for name, one in _all(client, keys.paused).items()}


def drained(client: Any, keys: Keys) -> dict[str, Stop]:
    """Return the nodes that are drained, which may be gone, or come back."""
    return _all(client, keys.drained)


def of(client: Any, keys: Keys, queues: Sequence[str], node: str) -> Stops:
    """
    Return what stops a worker of *queues* that is the *node*, in one round trip.

    A key that is no hash, or that this user may not read, stops nothing.
    """
    with client.pipeline(transaction=False) as pipe:
        pipe.hmget(keys.paused, [field_of(keys, queue) for queue in queues] or [""])
        pipe.hmget(keys.drained, [node])
        found, whole = pipe.execute(raise_on_error=False)
    values = found if isinstance(found, list) else []
    return Stops(
        {
            queue: _read(text)
            for queue, text in zip(queues, values, strict=False)
            if text is not None
        },
        _read(whole[0]) if isinstance(whole, list) and whole[0] is not None else None,
    )


def put(client: Any, key: str, names: Sequence[str], who: str) -> int:
    """Stop *names* of the hash *key*; return how many were not. Who did it first stays."""
    seconds, micros = client.time()
    value = json.dumps({"at": round(seconds + micros / 1e6, 3), "by": who})
    with client.pipeline(transaction=True) as pipe:
        for name in names:
            pipe.hsetnx(key, name, value)
        return sum(map(int, pipe.execute()))


def remove(client: Any, key: str, names: Sequence[str]) -> int:
    """End the stops of *names* of the hash *key*; return how many there were."""
    return int(client.hdel(key, *names)) if names else 0


def _all(client: Any, key: str) -> dict[str, Stop]:
    found: dict[str, Stop] = {}
    for page in scanned(client, key):
        for name, text in page.items():
            if len(found) < MOST:
                found[name.decode("utf-8", "surrogateescape")] = _read(text)
    return found


def _read(text: bytes) -> Stop:
    """Return the stop of *text*: it is one, whatever is written there."""
    try:
        values = json.loads(text)
        who, at = values.get("by"), float(values.get("at"))
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return Stop(None, "")
    return Stop(at if isfinite(at) else None, who if isinstance(who, str) else "")
