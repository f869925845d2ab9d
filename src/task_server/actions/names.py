"""Which queues and nodes there are: an action on another one is refused, with near names."""

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Final

from redis.exceptions import ResponseError

from task_server.errors import TaskServerError
from task_server.monitor import queues, workers
from task_server.monitor.model import Worker
from task_server.transport.store import stops
from task_server.transport.store.keys import Keys

#: Near names that a refusal lists.
NEAR: Final = 3


class RefusedError(TaskServerError):
    """Raised when an action is not done, with the reason."""


def check_queue(client: Any, keys: Keys, queue: str, known: Iterable[str]) -> None:
    """
    Check that *queue* is one that somebody knows.

    It is if it is among the *known*, if something lies in it, if a worker of ours takes from
    it, or if Kombu has bound it.

    Raises:
        RefusedError: With near names.
    """
    lists = keys.lists_of(queue)
    names = set(known)
    if queue in names or client.exists(*lists, *map(keys.delayed_of, lists)):
        return
    names |= {name for worker in nodes(client, keys, 0.0) for name in worker.queues}
    if queue not in names:
        names |= queues.bound(client, keys)[0]
    if queue not in names:
        raise RefusedError(
            f"No queue {queue!r} is known{near(queue, names)} `--force` does it for a queue "
            "that is yet to come."
        )


def nodes(client: Any, keys: Keys, now: float) -> tuple[Worker, ...]:
    """Return the registered workers and the nodes of remote control; none that cannot be read."""
    try:
        return workers.read(client, keys, [], now)
    except ResponseError:
        return ()


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the *names* that are *pattern*, or else match it: `gevent@*`."""
    names = list(dict.fromkeys(names))
    return [pattern] if pattern in names else [one for one in names if fnmatchcase(one, pattern)]


def near(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names those of *known* that are like *name*."""
    known = list(known)
    found = get_close_matches(name, known, n=NEAR, cutoff=0.5)
    if found:
        return f"; did you mean {' or '.join(map(repr, found))}?"
    return f"; known are {', '.join(map(repr, sorted(known)[:10]))}." if known else "."


def stopped(client: Any, keys: Keys) -> tuple[dict[str, stops.Stop], dict[str, stops.Stop]]:
    """Return the paused queues and the drained nodes; a key that is no hash has none."""
    found: list[dict[str, stops.Stop]] = []
    for read in (stops.paused, stops.drained):
        try:
            found.append(read(client, keys))
        except ResponseError:
            found.append({})
    return found[0], found[1]
