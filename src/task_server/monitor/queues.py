"""Which queues there are, and what waits in each."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from task_server.monitor.model import Age, Queue
from task_server.producer.stamp import sent_at
from task_server.transport.store import ages
from task_server.transport.store.ages import Waiting
from task_server.transport.store.keys import Keys

#: Separates the parts of a Kombu binding.
SEPARATOR: Final = b"\x06\x16"

#: Queues of remote control and of events, which have no tasks.
CONTROL: Final = (".celery.pidbox", ".reply.celery.pidbox")

#: Limits on the search for bindings: seconds, and members of one.
SEARCH_SECONDS: Final = 0.3
MEMBERS: Final = 1_000

#: Lists that one call reads.
LISTS: Final = 40

#: Delayed tasks that are due in so many seconds count as due soon.
SOON: Final = 60.0


def bound(client: Any, keys: Keys) -> tuple[set[str], bool]:
    """Return the queues of Kombu's bindings, and whether all could be looked at in time."""
    found: set[str] = set()
    end = time.monotonic() + SEARCH_SECONDS
    start = keys.binding_of("")
    pattern = "".join(f"\\{one}" if one in "*?[]\\" else one for one in start)
    cursor = None
    while cursor != 0:
        if time.monotonic() > end:
            return found, False
        cursor, page = client.scan(cursor or 0, match=f"{pattern}*", count=1000)
        for key in page:
            exchange = key.decode("utf-8", "replace")[len(start) :]
            if exchange != "celeryev" and not exchange.endswith(".pidbox"):
                found.update(_members(client, key))
    return found, True


def _members(client: Any, key: bytes) -> Iterator[str]:
    try:
        members = client.sscan(key, count=MEMBERS)[1]
    except ResponseError:
        return  # not a set, so not Kombu's
    for member in members[: 2 * MEMBERS]:
        queue = member.rpartition(SEPARATOR)[2].decode("utf-8", "replace")
        if queue and not queue.endswith(CONTROL) and not queue.startswith("celeryev."):
            yield queue


def read(
    client: Any,
    keys: Keys,
    names: Iterable[str],
    in_flight: Counter[str],
    consumers: Mapping[str, Sequence[str]],
) -> Iterator[Queue]:
    """
    Return the queues *names*, with what waits in each.

    Args:
        in_flight: How many messages of each queue are in flight.

        consumers: The nodes that take from each queue.
    """
    names = list(dict.fromkeys(names))
    lists = [name for queue in names for name in keys.lists_of(queue)]
    found: dict[str, Waiting] = {}
    for first in range(0, len(lists), LISTS):
        found |= ages.waiting(client, keys, lists[first : first + LISTS])
    later = _later(client, keys, lists, next(iter(found.values())).now if found else 0.0)
    for queue in names:
        own = keys.lists_of(queue)
        bad = [name for name in own if found[name].length is None]
        yield Queue(
            name=queue,
            waiting={
                step: length
                for step, name in zip(keys.priority_steps, own, strict=True)
                if (length := found[name].length)
            },
            in_flight=in_flight[queue],
            delayed=sum(later[name][0] for name in own),
            due_soon=sum(later[name][1] for name in own),
            oldest=None if bad else _oldest([found[name] for name in own]),
            consumers=tuple(consumers.get(queue, ())),
            trouble=f"the key {bad[0]!r} is no list, or may not be read" if bad else "",
        )


def _later(client: Any, keys: Keys, lists: Sequence[str], now: float) -> dict[str, tuple[int, int]]:
    """Return how many tasks of each list are due later, and how many of them soon."""
    with client.pipeline(transaction=False) as pipe:
        for name in lists:
            pipe.zcard(keys.delayed_of(name))
            pipe.zcount(keys.delayed_of(name), "-inf", now + SOON)
        answers = pipe.execute(raise_on_error=False)
    counts = [one if isinstance(one, int) else 0 for one in answers]
    return {name: (counts[2 * number], counts[2 * number + 1]) for number, name in enumerate(lists)}


def _oldest(lists: Sequence[Waiting]) -> Age:
    """Return the age of the oldest next message of one queue's *lists*."""
    found = [age for one in lists if one.length and (age := _age(one)) is not None]
    return max(found, key=lambda age: age.seconds, default=Age(seconds=0.0, is_exact=True))


def _age(one: Waiting) -> Age | None:
    sent = sent_at({"headers": one.headers})
    if sent is None:
        since = max(one.now if one.first_seen is None else one.first_seen, one.due or 0.0)
        return Age(seconds=max(0.0, one.now - since), is_exact=False)
    # One that was delayed has waited here since it was due, or does not wait yet.
    since = max(sent, one.due or 0.0)
    return Age(seconds=max(0.0, one.now - since), is_exact=True)
