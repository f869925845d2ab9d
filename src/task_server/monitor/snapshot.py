"""One snapshot of a broker: bounded calls, whatever lies in it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from redis.exceptions import ResponseError

from task_server.monitor import queues, statistics, workers
from task_server.monitor.broker import broker
from task_server.monitor.counts import TaskStatistics
from task_server.monitor.model import Broker, Queue, Snapshot, Worker
from task_server.monitor.rates import with_rates
from task_server.monitor.undelivered import with_undelivered
from task_server.monitor.usual import usual
from task_server.transport.store import failed_tasks, in_flight, stops
from task_server.transport.store.in_flight import InFlight
from task_server.transport.store.keys import Keys

if TYPE_CHECKING:
    from task_server.transport.store.stops import Stop

#: Messages in flight that are described; more are only counted.
MOST: Final = 50_000

#: Seconds from which on a wait, or a run, is compared with what is usual.
LONG: Final = 10.0

_T = TypeVar("_T")


class Attempts:
    """
    Reads one thing after another; what Redis refuses is left out.

    Attributes:
        troubles: Why, by what it is.
    """

    def __init__(self) -> None:
        self.troubles: dict[str, str] = {}

    def __call__(self, what: str, read: Callable[[], _T], otherwise: _T) -> _T:
        """Return what *read* returns, or *otherwise*."""
        try:
            return read()
        except ResponseError as error:
            self.troubles[what] = str(error)
            return otherwise


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
    attempt = Attempts()
    seconds, micros = client.time()
    now = seconds + micros / 1e6
    nothing: tuple[list[InFlight], int] = ([], 0)
    messages, stuck = attempt("messages in flight", lambda: _in_flight(client, keys), nothing)
    count = attempt("messages in flight", lambda: int(client.hlen(keys.unacked)), len(messages))
    if len(messages) == MOST < count:
        attempt.troubles["messages in flight"] = f"only {MOST} of {count} are described"
    nobody: tuple[Worker, ...] = ()
    drained: dict[str, Stop] = attempt("drained nodes", lambda: stops.drained(client, keys), {})
    found = attempt("workers", lambda: workers.read(client, keys, messages, now, drained), nobody)
    no_task: tuple[TaskStatistics, ...] = ()
    tasks = attempt("statistics", lambda: statistics.tasks(client, keys, now), no_task)
    read = _queues(client, keys, attempt, names=names, messages=messages, found=found)
    read = _rated(client, keys, attempt, read=read, tasks=tasks, found=found, now=now)
    old = {queue.name for queue in read if queue.oldest and queue.oldest.seconds > LONG}
    long = _long(found, now)
    rows = [(one.task, one.queue) for one in tasks]
    runs, waits = usual(client, keys, rows, tasks=long, queues=old, now=now)
    return Snapshot(
        at=now,
        broker=attempt("the server", lambda: broker(client, keys), Broker()),
        queues=tuple(replace(queue, usual=waits.get(queue.name)) for queue in read),
        workers=found,
        in_flight=count - stuck,
        unowned=tuple(one for one in messages if not one.node),
        dead=attempt("dead letters", lambda: int(client.hlen(keys.dead_letters)), 0),
        failed=attempt("failed tasks", lambda: failed_tasks.count(client, keys), 0),
        unreadable=stuck
        + attempt("unreadable messages", lambda: int(client.llen(keys.unreadable)), 0),
        tasks=tasks,
        usual=runs,
        troubles=attempt.troubles,
        drained=drained,
    )


def _queues(
    client: Any,
    keys: Keys,
    attempt: Attempts,
    *,
    names: Iterable[str],
    messages: Iterable[InFlight],
    found: Sequence[Worker],
) -> list[Queue]:
    """Return the queues: those of *names*, and all that can be found."""
    none_bound: tuple[set[str], bool] = (set(), True)
    bound, is_complete = attempt("bindings", lambda: queues.bound(client, keys), none_bound)
    if not is_complete:
        problem = "there are too many keys to look at all: queues may be missing"
        attempt.troubles["bindings"] = problem
    by_queue = Counter(one.queue for one in messages)
    consumers = _consumers(found)
    paused: dict[str, Stop] = attempt("paused queues", lambda: stops.paused(client, keys), {})
    theirs = [name for one in found if one.state != "silent" for name in one.queues]
    every = dict.fromkeys([*names, *theirs, *paused, *filter(None, by_queue), *sorted(bound)])
    none: list[Queue] = []
    read = attempt(
        "queues", lambda: list(queues.read(client, keys, every, by_queue, consumers)), none
    )
    read = attempt("dead letters", lambda: list(with_undelivered(client, keys, read)), list(read))
    return [replace(queue, paused=paused.get(queue.name)) for queue in read]


def _rated(
    client: Any,
    keys: Keys,
    attempt: Attempts,
    *,
    read: list[Queue],
    tasks: Sequence[TaskStatistics],
    found: Sequence[Worker],
    now: float,
) -> list[Queue]:
    """Return the queues with their rates."""
    before: dict[str, int] = {}
    before = attempt("statistics", lambda: statistics.lengths_before(client, keys, now), before)
    are_all_ours = all(worker.run for worker in found)
    seconds = statistics.recent_seconds(now)
    return list(with_rates(read, tasks, before, seconds, are_all_ours=are_all_ours))


def _long(found: Iterable[Worker], now: float) -> set[str]:
    """Return the tasks of which one runs for long, and those that a silent worker has."""
    return {
        one.task
        for worker in found
        for one in worker.in_flight
        if worker.state == "silent" or now - worker.started.get(one.tag, now) > LONG
    }


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
    """Return the nodes that take from each queue."""
    by_queue: defaultdict[str, list[str]] = defaultdict(list)
    for worker in found:
        for name in worker.queues if worker.takes else ():
            by_queue[name].append(worker.node)
    return dict(by_queue)
