"""
Delayed tasks: those with an ETA wait in Redis until they are due.

Each list of a queue has a sorted set of them, see `Keys.delayed_of`. A member is what
makes it unique, a space and the message byte for byte; its score is when the task is
due, in seconds since 1970. `lua/delayed.lua` moves them.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from task_server.transport.store.dead_letters import task_and_id_of
from task_server.transport.store.keys import Keys
from task_server.transport.store.scripts import DUE, RELEASE

#: What makes a member unique: when it was delayed, and its number among those of one fetch.
_NAME: Final = re.compile(rb"\d{1,12}\.\d{6}:\d{4}")

#: Members that one command reads: a message may be large.
PORTION: Final = 100


@dataclass(frozen=True, slots=True)
class Delayed:
    """
    One delayed task.

    Attributes:
        queue: Without the prefix of all keys.

        due: Seconds since 1970, by the server's clock.

        since: When it was delayed, by the same clock; 0 where its member does not say so.

        text: The message.
    """

    queue: str
    due: float
    since: float
    id: str
    task: str
    text: bytes

    @classmethod
    def read(cls, queue: str, member: bytes, due: float) -> "Delayed":
        """Return the task of *member*, as far as it can be read: anyone can write one."""
        name, _, text = member.partition(b" ")
        since = float(name[: -len(b":0000")]) if text and _NAME.fullmatch(name) else 0.0
        text = text or member
        try:
            payload = json.loads(text)
        except (ValueError, RecursionError):
            payload = None
        task, id_ = task_and_id_of(payload) if isinstance(payload, Mapping) else ("", "")
        return cls(queue, due, since, id_, task, text)


def counts(client: Any, keys: Keys, queues: Iterable[str] | None = None) -> dict[str, int]:
    """
    Return how many tasks of each of *queues* are delayed; None means all queues that have some.

    *client* is a Redis client that adds no prefix, here and below.

    Raises:
        RedisError: When Redis does not answer, or refuses.
    """
    found: dict[str, int] = dict.fromkeys(queues or (), 0)
    for queue, name in _lists(client, keys, queues):
        count = client.zcard(keys.delayed_of(name))
        if count or queue in found:
            found[queue] = found.get(queue, 0) + int(count)
    return found


def all_of(client: Any, keys: Keys, queue: str | None = None) -> Iterator[Delayed]:
    """Return the delayed tasks of *queue*, or of all; those of each list in order of due time."""
    for name_of_queue, name in _lists(client, keys, None if queue is None else [queue]):
        first = 0
        while found := client.zrange(
            keys.delayed_of(name), first, first + PORTION - 1, withscores=True
        ):
            first += len(found)
            for member, due in found:
                yield Delayed.read(name_of_queue, member, float(due))


def release(client: Any, keys: Keys, queue: str | None = None) -> dict[str, int]:
    """
    Put the delayed tasks of *queue*, or of all, back for workers with Kombu's transport.

    What is due goes to the front of its list, the rest behind what waits, as if it had
    just been sent. Workers with our transport delay the rest again.

    Returns:
        How many of each queue.
    """
    found: dict[str, int] = {}
    for name_of_queue, name in _lists(client, keys, None if queue is None else [queue]):
        delayed, count = keys.delayed_of(name), 0
        waiting = client.zcard(delayed)
        DUE.run(client, (), (keys.delayed, name))
        count += waiting - client.zcard(delayed)
        while moved := int(RELEASE.run(client, (delayed, name), ())):
            count += moved
        if count:
            found[name_of_queue] = found.get(name_of_queue, 0) + count
    return found


def drop(client: Any, keys: Keys, queue: str) -> int:
    """Delete the delayed tasks of *queue*; return how many. What may not be used has none."""
    with client.pipeline(transaction=False) as pipe:
        for name in keys.lists_of(queue):
            pipe.zcard(keys.delayed_of(name)).delete(keys.delayed_of(name))
        found = pipe.execute(raise_on_error=False)
    return sum(count for count in found[::2] if isinstance(count, int))


def drop_matching(
    client: Any, keys: Keys, matches: Callable[[Delayed], bool], queue: str | None = None
) -> int:
    """
    Delete the delayed tasks of *queue*, or of all, that *matches* says yes to; return how many.

    One that becomes due meanwhile goes to its list, and is not deleted.
    """
    count = 0
    for name_of_queue, name in _lists(client, keys, None if queue is None else [queue]):
        key = keys.delayed_of(name)
        # From the end: what becomes due leaves at the front, and moves nothing there.
        last = -1
        while found := client.zrange(key, last - PORTION + 1, last, withscores=True):
            members = [
                member
                for member, due in found
                if matches(Delayed.read(name_of_queue, member, float(due)))
            ]
            if members:
                count += int(client.zrem(key, *members))
            last -= len(found) - len(members)
    return count


def _lists(client: Any, keys: Keys, queues: Iterable[str] | None) -> Iterator[tuple[str, str]]:
    """Return the queue and the complete name of each list that may have delayed tasks."""
    if queues is not None:
        for queue in queues:
            for name in keys.lists_of(queue):
                yield queue, name
        return
    escaped = "".join(f"\\{one}" if one in "*?[]\\" else one for one in keys.delayed)
    for key in sorted(set(client.scan_iter(match=f"{escaped}*", count=1000))):
        name = key.decode("utf-8", "surrogateescape")[len(keys.delayed) :]
        if name and client.type(key) == b"zset":
            yield keys.queue_of(name), name
