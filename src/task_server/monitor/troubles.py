"""What is wrong in a snapshot, worst first, each with what to do: pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Final

from task_server.monitor.counts import Counts, TaskStatistics
from task_server.monitor.model import Queue, Snapshot
from task_server.monitor.stopped import Clock, clock, stopped
from task_server.monitor.stuck import stuck
from task_server.monitor.trouble import (
    LEAST,
    LEVELS,
    TIMES,
    UNKNOWN_WAIT,
    Level,
    Limits,
    Trouble,
    span,
)
from task_server.monitor.unserved import unserved

__all__ = ["LEVELS", "Level", "Limits", "Trouble", "span", "troubles"]

#: Failures of a task, recently, that say nothing yet.
FEW_FAILURES: Final = 3


def troubles(found: Snapshot, limits: Limits, say: Clock | None = None) -> list[Trouble]:
    """
    Return what is wrong in *found*, the worst first.

    Args:
        say: Says a time; unset, in UTC.
    """
    say = say or partial(clock, now=found.at)
    every = [
        *_server(found, limits),
        *(one for queue in found.queues for one in _queue(queue, found, limits)),
        *(one for worker in found.workers for one in stuck(worker, found, limits, say)),
        *_failures(found, limits),
        *(Trouble(level="warning", **one) for one in stopped(found, say)),
        *_messages(found),
    ]
    return sorted(every, key=lambda one: LEVELS.index(one.level))


def _server(found: Snapshot, limits: Limits) -> Iterator[Trouble]:
    broker = found.broker
    if broker.memory and broker.max_memory and broker.memory > limits.full * broker.max_memory:
        share = broker.memory / broker.max_memory
        refuses = broker.policy in ("", "noeviction")
        yield Trouble(
            level="error",
            what="Redis",
            message=f"uses {share:.0%} of maxmemory ({broker.max_memory >> 20} MiB); full, "
            + ("it refuses every new message" if refuses else "it deletes keys, queues among them"),
            repair=_room(found),
        )
    if broker.policy not in ("", "noeviction") and broker.max_memory:
        yield Trouble(
            level="warning",
            what="Redis",
            message=f"maxmemory-policy is {broker.policy}: a full server deletes queues",
            repair="set maxmemory-policy to noeviction",
        )
    if broker.clients and broker.max_clients and broker.clients > limits.full * broker.max_clients:
        yield Trouble(
            level="error",
            what="Redis",
            message=f"has {broker.clients} of {broker.max_clients} clients; more are refused",
            repair="raise maxclients (and its LimitNOFILE), or stop some",
        )
    if broker.role in ("slave", "replica"):
        yield Trouble(
            level="error",
            what="Redis",
            message="is a replica, which takes no messages",
            repair="correct the broker URL, or end the failover",
        )


def _room(found: Snapshot) -> str:
    """Return what makes room in a full server."""
    longest = max(found.queues, key=lambda queue: queue.length, default=None)
    if longest is None or not longest.length:
        return (
            "raise maxmemory; nothing waits, so it is results (`result_expires`), or others' keys"
        )
    return (
        f"raise maxmemory, or let workers catch up: {longest.length} wait in {longest.name}; "
        "results are the other thing (`result_expires`)"
    )


def _queue(queue: Queue, found: Snapshot, limits: Limits) -> Iterator[Trouble]:
    if queue.trouble:
        yield Trouble(
            level="error",
            what=queue.name,
            message=f"cannot be read: {queue.trouble}",
            repair="find what else writes that key, or grant the right",
        )
    due = queue.length + queue.due_soon
    if due and not queue.consumers:
        level, message, repair = unserved(queue, due, found)
        yield Trouble(level=level, what=queue.name, message=message, repair=repair)
    elif queue.paused:
        return
    elif queue.length and queue.oldest and queue.oldest.seconds > _longest_wait(queue, limits):
        usual = "" if queue.usual is None else f", older than its usual {span(queue.usual)}"
        yield Trouble(
            level="warning",
            what=queue.name,
            message=f"its oldest message has waited for {span(queue.oldest.seconds)}{usual}"
            f"; {queue.length} wait, {len(queue.consumers)} workers take from it{_rates(queue)}",
            repair="add workers, unless one of those below is stuck",
        )


def _longest_wait(queue: Queue, limits: Limits) -> float:
    if limits.waiting is not None:
        return limits.waiting
    return UNKNOWN_WAIT if queue.usual is None else max(LEAST, TIMES * queue.usual)


def _rates(queue: Queue) -> str:
    if queue.rate_in is None or queue.rate_out is None:
        return ""
    return f", {queue.rate_in.per_minute:.0f} come and {queue.rate_out.per_minute:.0f} go a minute"


def _failures(found: Snapshot, limits: Limits) -> Iterator[Trouble]:
    by_task: defaultdict[str, list[TaskStatistics]] = defaultdict(list)
    for one in found.tasks:
        by_task[one.task].append(one)
    for task, every in by_task.items():
        recent = sum((one.recent for one in every), Counts())
        if recent.failed < FEW_FAILURES or recent.failed <= limits.failing * recent.ended:
            continue
        minutes = every[0].seconds / 60
        where = sorted({one.queue for one in every if one.recent.failed and one.queue})
        yield Trouble(
            level="warning",
            what=task or "other tasks",
            message=f"{recent.failed} of {recent.ended} failed in the last {minutes:.0f} min, "
            f"{recent.failed / minutes:.1f} a minute"
            + (f", in {', '.join(where[:3])}" if where else ""),
            repair=f"task-server failed list --task {task}" if task else "task-server failed list",
        )


def _of(found: Snapshot, what: str) -> str:
    """Return of which queues they are, those that are *what*: dead or unreadable."""
    names = [one.name for one in found.queues if getattr(one, what)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004
    return f" of {', '.join(names[:3])}{more}" if names else ""


def _first(details: Iterable[str]) -> str:
    """Return the first of some *details*, after a colon."""
    first = list(islice(details, 3))
    return f": {', '.join(first)}" if first else ""


def _messages(found: Snapshot) -> Iterator[Trouble]:
    if found.dead:
        yield Trouble(
            level="warning",
            what="dead letters",
            message=f"{found.dead}{_of(found, 'dead')}: they crashed their workers, or no code "
            f"registers them{_first(one for queue in found.queues for one in queue.dead_tasks)}",
            repair="task-server dead list",
        )
    if found.unreadable:
        yield Trouble(
            level="warning",
            what="unreadable",
            message=f"{found.unreadable}{_of(found, 'unreadable')} cannot be delivered"
            + _first(queue.why_unreadable for queue in found.queues if queue.why_unreadable),
            repair="the workers' log has the reasons; find what sends them",
        )
    for what, reason in found.troubles.items():
        yield Trouble(
            level="warning",
            what=what,
            message=f"not complete: {reason}",
            repair="grant the right, or find what else writes that key",
        )
