"""What a dead worker holds goes back to its queues now, and not when another worker finds it."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from redis import exceptions

from task_server.actions import audit
from task_server.actions.bindings import Bindings
from task_server.actions.names import RefusedError, near, nodes
from task_server.monitor.stopped import Clock, clock
from task_server.transport.hooks import Hooks
from task_server.transport.store import in_flight
from task_server.transport.store.client import Store
from task_server.transport.store.dead_letters import DeadLetter
from task_server.transport.store.in_flight import InFlight
from task_server.transport.store.keys import Keys
from task_server.transport.unacked.redeliver import LEASE_EXPIRED, Redelivery

#: Nothing is done before a redelivery.
NO_HOOKS: Final = Hooks()


@dataclass(frozen=True, slots=True)
class Requeued:
    """
    What became of the messages of one node.

    Attributes:
        count: They are back in their queues, or are dead letters, as a redelivery decides.

        dead: Those that are dead letters now.

        held: Messages that another process of the node still owns.
    """

    count: int
    dead: tuple[DeadLetter, ...] = ()
    held: int = 0


def requeue(
    client: Any,
    keys: Keys,
    node: str,
    who: str,
    *,
    poison_limit: int = 3,
    visibility_timeout: float = 3600.0,
    hooks: Hooks = NO_HOOKS,
    on_dead_letter: Callable[[DeadLetter], None] = lambda _: None,
    say: Clock = clock,
) -> Requeued:
    """
    Redeliver what dead processes of *node* hold, as the workers' own scan does.

    Each goes to the front of the queue that it was taken from, in the order in which they were
    taken, with one more crash counted; one that has crashed enough workers becomes a dead letter.

    Args:
        poison_limit: So many crashes are enough; 0 means never.

        visibility_timeout: Seconds for which a message without a lease is its owner's.

        hooks: Whose `before_redelivery` is called.

        on_dead_letter: Gets each new dead letter.

        say: Says a time.

    Raises:
        RefusedError: While its lease lives; or when nothing says what it holds.
    """
    by_run: defaultdict[str, list[InFlight]] = defaultdict(list)
    others, unowned = set(), 0
    for page in in_flight.all_of(client, keys):
        for one in page:
            if one.node == node:
                by_run[one.run or str(one.pid)].append(one)
            elif one.node:
                others.add(one.node)
            else:
                unowned += 1
    seconds, micros = client.time()
    now = seconds + micros / 1e6
    untils = {run: _until(held, visibility_timeout) for run, held in by_run.items()}
    dead = [run for run, until in untils.items() if until <= now]
    if not by_run:
        return _nothing(client, keys, node, others=others, unowned=unowned, now=now)
    if not dead:
        raise RefusedError(
            f"{node!r} owns {sum(map(len, by_run.values()))} messages until "
            f"{say(max(untils.values()))}: it may be alive, and then they would run twice. "
            "Stop it, or wait: after that they come back by themselves while any worker runs."
        )
    letters: list[DeadLetter] = []

    def on_letter(letter: DeadLetter) -> None:
        letters.append(letter)
        on_dead_letter(letter)

    lost = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)
    store = Store(keys, lambda: client.connection_pool, lost)
    redelivery = Redelivery(store, Bindings(client, keys), poison_limit, hooks, on_letter)
    count = sum(_redeliver(redelivery, by_run.pop(run)) for run in dead)
    left = sum(map(len, by_run.values()))
    detail = f"{count} messages" + (f", {len(letters)} of them dead letters" if letters else "")
    audit.record(client, keys, who, "requeue", node, detail=detail)
    return Requeued(count, tuple(letters), left)


def _redeliver(redelivery: Redelivery, held: Iterable[InFlight]) -> int:
    """Redeliver *held*, those of one process; return how many."""
    held = {one.tag: one for one in held}.values()
    # What is pushed last to the front is the first in line.
    newest_first = sorted(held, key=lambda one: one.fetched_at or 0.0, reverse=True)
    until = {one.tag: one.renewed_at for one in newest_first if one.renewed_at is not None}
    # One that its worker renews meanwhile, or that another takes, is not touched.
    return redelivery.redeliver(
        list(until), latest=max(until.values(), default=0.0), crash=LEASE_EXPIRED, until=until
    )


def _until(held: Iterable[InFlight], visibility_timeout: float) -> float:
    """Return until when a process owns what it has *held*: it renews everything at once."""
    return max(
        (one.renewed_at or 0.0) + (visibility_timeout if one.lease is None else one.lease)
        for one in held
    )


def _nothing(
    client: Any, keys: Keys, node: str, *, others: Iterable[str], unowned: int, now: float
) -> Requeued:
    """
    Return that *node*, which is known, holds nothing.

    Raises:
        RefusedError: When it is not, or is a worker of Celery, of which nothing says what it holds.
    """
    there = {worker.node: worker for worker in nodes(client, keys, now)}
    if node in there and not there[node].run:
        raise RefusedError(
            f"{node!r} is a worker of Celery itself, or with Kombu's transport: its messages do "
            f"not say who holds them ({unowned} in flight do not). They come back when the "
            "visibility timeout is over."
        )
    if node not in there:
        raise RefusedError(f"No node {node!r} is known{near(node, {*there, *others})}")
    return Requeued(0)
