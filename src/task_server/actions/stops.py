"""
Pausing queues and draining nodes.

Who fetches looks at it in the same step, so nothing is taken from a paused queue, or by a
drained node, once these have returned. What runs goes on; what a worker has taken and not
started it hands back within seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from task_server.actions import audit
from task_server.actions.names import RefusedError, check_queue, matching, near, nodes, stopped
from task_server.transport.store import stops
from task_server.transport.store.keys import Keys


@dataclass(frozen=True, slots=True)
class Stopped:
    """
    What an action has stopped, or let go on.

    Attributes:
        names: The queue, or the nodes.

        changed: How many of them were not before.

        unbound: Nodes that do not obey: workers of Celery, of task-server before 0.3, and
            those with Kombu's transport. Of Celery's own Redis does not say what they take.
    """

    names: tuple[str, ...]
    changed: int
    unbound: tuple[str, ...] = ()


def pause(
    client: Any,
    keys: Keys,
    queue: str,
    who: str,
    *,
    known: Iterable[str] = (),
    force: bool = False,
) -> Stopped:
    """
    Pause *queue*: our workers take nothing from it, until `resume`, whatever is restarted.

    Args:
        known: Queues that are known from elsewhere.

        force: Also a queue that nobody knows.

    Raises:
        RefusedError: When nobody knows the queue.
    """
    if not force:
        check_queue(client, keys, queue, known)
    changed = stops.put(client, keys.paused, [stops.field_of(keys, queue)], who)
    found = unbound(client, keys, queue)
    if changed:
        audit.record(client, keys, who, "pause", queue, detail=_not_bound(found))
    return Stopped((queue,), changed, found)


def resume(client: Any, keys: Keys, queue: str, who: str) -> Stopped:
    """Let our workers take from *queue* again."""
    changed = stops.remove(client, keys.paused, [stops.field_of(keys, queue)])
    if changed:
        audit.record(client, keys, who, "resume", queue)
    return Stopped((queue,), changed)


def drain(client: Any, keys: Keys, pattern: str, who: str, *, force: bool = False) -> Stopped:
    """
    Drain the nodes that are, or match, *pattern*: they take nothing, and keep their processes.

    It binds the name of each node until `resume_node`: a process that is started again under
    it takes nothing either. Nodes that come later do not count, whatever their names.

    Args:
        force: Also a node that is not there, or does not obey.

    Raises:
        RefusedError: When no such node is there, or none that obeys.
    """
    there = nodes(client, keys, _now(client))
    found = matching(pattern, (worker.node for worker in there))
    obeying = {worker.node for worker in there if worker.obeys}
    if force:
        names = found or [pattern]
    elif not found:
        raise RefusedError(
            f"No node {pattern!r} has registered{near(pattern, (one.node for one in there))} "
            "`--force` drains one that is yet to come."
        )
    elif not (names := [name for name in found if name in obeying]):
        raise RefusedError(
            f"{_list(found)} would not obey: {WHY_NOT}. Stop it, or cancel its consumers."
        )
    changed = stops.put(client, keys.drained, names, who)
    left = tuple(name for name in found if name not in obeying)
    if changed:
        audit.record(client, keys, who, "drain", _list(names), detail=_not_bound(left))
    return Stopped(tuple(names), changed, left)


def resume_node(client: Any, keys: Keys, pattern: str, who: str) -> Stopped:
    """Let the drained nodes that are, or match, *pattern* take messages again."""
    names = matching(pattern, stopped(client, keys)[1])
    changed = stops.remove(client, keys.drained, names)
    if changed:
        audit.record(client, keys, who, "resume", _list(names))
    return Stopped(tuple(names), changed)


#: Why a node does not obey.
WHY_NOT = "it is a worker of Celery itself, of task-server before 0.3, or with Kombu's transport"


def unbound(client: Any, keys: Keys, queue: str) -> tuple[str, ...]:
    """Return the nodes that take from *queue*, or may, whether it is paused or not."""
    there = nodes(client, keys, _now(client))
    return tuple(worker.node for worker in there if worker.may_ignore_pause(queue))


def _not_bound(names: Iterable[str]) -> str:
    return f"not bound by it: {_list(names)}" if names else ""


def _list(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""  # noqa: PLR2004
    return ", ".join(names[:20]) + more


def _now(client: Any) -> float:
    seconds, micros = client.time()
    return float(seconds + micros / 1e6)
