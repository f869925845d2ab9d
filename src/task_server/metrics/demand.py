"""What an autoscaler goes by: how much there is to do in a queue, or for a kind of worker."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from task_server.monitor.model import Queue, Snapshot

#: Characters of an unknown name, and names, that are compared.
LONG: Final = 200
MANY: Final = 2_000


class UnknownError(Exception):
    """
    Raised when nothing has a name.

    Attributes:
        near: Names that are alike.
    """

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = [one for one in known if len(one) <= LONG][:MANY]
        self.near = get_close_matches(name[:LONG], names, n=3, cutoff=0.5)
        super().__init__(f"there is no {what} of this name")


class IncompleteError(Exception):
    """Raised when the numbers would not be true: a part could not be read."""


def of_queue(found: Snapshot, name: str) -> dict[str, Any]:
    """
    Return the demand of the queue *name*.

    Raises:
        UnknownError: When no worker, message, binding or configuration has it.

        IncompleteError: When it cannot be read.
    """
    _check(found)
    by_name = {queue.name: queue for queue in found.queues}
    if name not in by_name:
        raise UnknownError("queue", name, by_name)
    return {"queue": name, **_sum(found, [by_name[name]])}


def of_workers(found: Snapshot, name: str, workers: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """
    Return the demand of all queues that the kind of worker *name* takes from.

    Args:
        workers: The queues of each kind of worker.

    Raises:
        UnknownError: When the configuration has no such worker.

        IncompleteError: When one of its queues cannot be read.
    """
    if name not in workers:
        raise UnknownError("worker", name, workers)
    _check(found)
    names = list(workers[name])
    queues = [queue for queue in found.queues if queue.name in names]
    return {"worker": name, "queues": names, **_sum(found, queues)}


def _check(found: Snapshot) -> None:
    """Refuse a snapshot in which messages are missing: what runs would be stopped."""
    described = len(found.unowned) + sum(len(worker.in_flight) for worker in found.workers)
    for part in ("queues", "messages in flight"):
        # Of too many messages in flight enough are described.
        if part in found.troubles and not (part != "queues" and described):
            raise IncompleteError(f"{part}: {found.troubles[part]}")


def load(queue: Queue) -> int:
    """
    Return what there is to do in *queue*: waiting, in flight, and due within a minute.

    Of a paused one only what is in flight: more workers would find nothing to do.
    """
    return queue.in_flight + (0 if queue.paused else queue.length + queue.due_soon)


def takers(found: Snapshot, queues: Iterable[Queue]) -> set[str]:
    """Return the nodes that take from *queues*, without those that drain."""
    away = {one.node for one in found.workers if one.drained or one.state == "draining"}
    here = {one.node for one in found.workers if one.state == "ready" and not one.drained}
    return {node for queue in queues for node in queue.consumers} - (away - here)


def _sum(found: Snapshot, queues: list[Queue]) -> dict[str, Any]:
    for queue in queues:
        if queue.trouble:
            raise IncompleteError(queue.trouble)
    ages = [queue.oldest for queue in queues if queue.oldest is not None]
    oldest = max(ages, key=lambda age: age.seconds, default=None)
    return {
        "load": sum(map(load, queues)),
        "waiting": sum(queue.length for queue in queues),
        "in_flight": sum(queue.in_flight for queue in queues),
        "due_within_a_minute": sum(queue.due_soon for queue in queues),
        "delayed": sum(queue.delayed for queue in queues),
        "oldest_seconds": round(oldest.seconds, 3) if oldest else 0.0,
        "oldest_is_exact": oldest.is_exact if oldest else True,
        "workers": None if "workers" in found.troubles else len(takers(found, queues)),
        "paused": [queue.name for queue in queues if queue.paused],
        "at": round(found.at, 3),
    }
