"""One snapshot of a broker: bounded calls, whatever lies in it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from redis.exceptions import ResponseError

from task_server.monitor import queues, workers
from task_server.monitor.broker import broker
from task_server.monitor.model import Broker, Queue, Snapshot, Worker
from task_server.transport.store import in_flight
from task_server.transport.store.in_flight import InFlight
from task_server.transport.store.keys import Keys

#: Messages in flight that are described; more are only counted.
MOST: Final = 50_000

_T = TypeVar("_T")


def snapshot(client: Any, keys: Keys, names: Iterable[str] = ()) -> Snapshot:
    """
    Return what is in the broker of *client* now.

    What cannot be read, for want of a right or since another type of key has its name,
    is left out and said in `troubles`.

    Args:
        client: A Redis client that adds no prefix. Its time-outs bound each call.

        keys: The complete keys.

        names: Queues that are known from elsewhere; those that workers take from, that
            messages in flight are of, and that Kombu has bound are found here.

    Raises:
        RedisError: When Redis does not answer.
    """
    troubles: dict[str, str] = {}

    def attempt(what: str, read: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return read()
        except ResponseError as error:
            troubles[what] = str(error)
            return otherwise

    seconds, micros = client.time()
    now = seconds + micros / 1e6
    nothing: tuple[list[InFlight], int] = ([], 0)
    messages, stuck = attempt("messages in flight", lambda: _in_flight(client, keys), nothing)
    count = attempt("messages in flight", lambda: int(client.hlen(keys.unacked)), len(messages))
    if len(messages) == MOST < count:
        troubles["messages in flight"] = f"only {MOST} of {count} are described"
    nobody: tuple[Worker, ...] = ()
    found = attempt("workers", lambda: workers.read(client, keys, messages, now), nobody)
    none_bound: tuple[set[str], bool] = (set(), True)
    bound, is_complete = attempt("bindings", lambda: queues.bound(client, keys), none_bound)
    if not is_complete:
        troubles["bindings"] = "there are too many keys to look at all: queues may be missing"
    by_queue = Counter(one.queue for one in messages)
    consumers = _consumers(found)
    every = dict.fromkeys([*names, *consumers, *filter(None, by_queue), *sorted(bound)])
    no_queue: list[Queue] = []
    read = attempt(
        "queues", lambda: list(queues.read(client, keys, every, by_queue, consumers)), no_queue
    )
    return Snapshot(
        at=now,
        broker=attempt("the server", lambda: broker(client, keys), Broker()),
        queues=tuple(read),
        workers=found,
        in_flight=count - stuck,
        unowned=tuple(one for one in messages if not one.node),
        dead=attempt("dead letters", lambda: int(client.hlen(keys.dead_letters)), 0),
        unreadable=stuck
        + attempt("unreadable messages", lambda: int(client.llen(keys.unreadable)), 0),
        troubles=troubles,
    )


def _in_flight(client: Any, keys: Keys) -> tuple[list[InFlight], int]:
    """
    Return the messages in flight, each once, `MOST` at most.

    And how many cannot be read, and could not be moved to their list.
    """
    found: dict[str, InFlight] = {}
    stuck: set[str] = set()
    for page in in_flight.all_of(client, keys):
        for one in page:
            if one.tag.startswith(in_flight.UNREADABLE):
                stuck.add(one.tag)
            elif len(found) < MOST:
                found[one.tag] = one
        if len(found) >= MOST:
            break
    return list(found.values()), len(stuck)


def _consumers(found: Iterable[Worker]) -> dict[str, list[str]]:
    """Return the nodes that take from each queue: of workers that are alive."""
    by_queue: defaultdict[str, list[str]] = defaultdict(list)
    for worker in found:
        for name in worker.queues if worker.state in ("ready", "draining") else ():
            by_queue[name].append(worker.node)
    return dict(by_queue)
