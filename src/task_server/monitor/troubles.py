"""What is wrong in a snapshot, worst first, each with what to do: pure."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from task_server.monitor.counts import Counts, TaskStatistics
from task_server.monitor.model import Queue, Snapshot, Worker
from task_server.monitor.stopped import clock, stopped

Level = Literal["error", "warning"]

#: Their order.
LEVELS: tuple[Level, ...] = ("error", "warning")


#: Seconds, where nothing is known of a queue, or of a task.
UNKNOWN_WAIT: Final = 300.0
UNKNOWN_RUN: Final = 600.0

#: What is wrong is so many times what is usual, and not less than so many seconds.
TIMES: Final = 3.0
LEAST: Final = 60.0

#: Seconds that a time limit may take to end a task.
OVER: Final = 10.0

#: Failures of a task, recently, that say nothing yet.
FEW_FAILURES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    From when on something is wrong, in seconds and shares of 1.

    Attributes:
        waiting: Age of the oldest message of a queue; None: three times what is usual there, and
            no less than a minute; `UNKNOWN_WAIT` where that is not known.

        running: For which one task runs; None: the same, by what is usual for the task, and no more
            than its time limit; `UNKNOWN_RUN` where neither is known.

        failing: Share of a task's recent tries that failed; with at least `FEW_FAILURES` of them.

        full: Of memory, and of clients, that the server may have.
    """

    waiting: float | None = None
    running: float | None = None
    failing: float = 0.2
    full: float = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """
    One thing that is wrong.

    Attributes:
        what: The queue, the node or the part of the server.

        repair: What to do; a phrase.
    """

    level: Level
    what: str
    message: str
    repair: str


def troubles(found: Snapshot, limits: Limits) -> list[Trouble]:
    """Return what is wrong in *found*, the worst first."""
    every = [
        *_server(found, limits),
        *(one for queue in found.queues for one in _queue(queue, found, limits)),
        *(one for worker in found.workers for one in _worker(worker, found, limits)),
        *_failures(found, limits),
        *(Trouble(level="warning", **one) for one in stopped(found)),
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
            repair="raise maxmemory, or let workers catch up with what waits below",
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
        strangers = [one.node for one in found.workers if one.state is None and not one.run]
        if strangers:
            message = (
                f"{due} wait, and no worker of task-server takes from it; whether Celery's own "
                f"do ({', '.join(strangers[:3])}), Redis does not say"
            )
        else:
            message = f"{due} wait, and nobody takes from it"
        yield Trouble(
            level="warning" if strangers else "error",
            what=queue.name,
            message=message,
            repair="start a worker with this queue, or add it to `queues` of one",
        )
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


def _worker(worker: Worker, found: Snapshot, limits: Limits) -> Iterator[Trouble]:
    if worker.state == "silent" and worker.since is not None:
        until = max((one.lease_until or 0.0 for one in worker.in_flight), default=0.0)
        count = len(worker.in_flight)
        held = f"; {count} messages are its own until {clock(until)}" if count else ""
        if count and until > found.at:
            repair = "none: what it has runs elsewhere then; see its host and its log"
        elif count:
            repair = "start a worker of this broker, which takes over what it has"
        else:
            repair = "see its host and its log; it is forgotten after a day"
        yield Trouble(
            level="error" if count else "warning",
            what=worker.node,
            message=f"silent since {clock(worker.since)}{held}",
            repair=repair,
        )
        return
    by_tag = {one.tag: one for one in worker.in_flight}
    for tag, started in sorted(worker.started.items(), key=lambda item: item[1]):
        seconds, one = found.at - started, by_tag.get(tag)
        if one is None:
            continue
        limit, usual = worker.limits.get(tag), found.usual.get(one.task)
        if seconds <= _longest_run(limits, limit, usual):
            continue
        is_over = limit is not None and seconds > limit + OVER
        known = [f"usual {span(usual)}"] if usual is not None else []
        known += [f"limit {limit:.0f} s"] if limit is not None else ["no time limit"]
        yield Trouble(
            level="error" if is_over else "warning",
            what=worker.node,
            message=f"{one.task}[{one.id}] has been running for {seconds:.0f} s "
            f"({', '.join(known)})",
            repair=_repair(worker, limit, is_over=is_over),
        )


def _longest_run(limits: Limits, limit: float | None, usual: float | None) -> float:
    if limits.running is not None:
        return limits.running
    longest = UNKNOWN_RUN if usual is None else max(LEAST, TIMES * usual)
    return longest if limit is None else min(longest, limit + OVER)


def _repair(worker: Worker, limit: float | None, *, is_over: bool) -> str:
    where = f"SIGUSR1 to pid {worker.pid} on {worker.host} logs all stacks"
    if is_over:
        return f"its limit does not end it, so it hangs in C code: {where}; restart that worker"
    return f"see where: {where}" + ("" if limit else "; give it a time limit")


def _failures(found: Snapshot, limits: Limits) -> Iterator[Trouble]:
    by_task: defaultdict[str, list[TaskStatistics]] = defaultdict(list)
    for one in found.tasks:
        by_task[one.task].append(one)
    for task, every in by_task.items():
        recent = sum((one.recent for one in every), Counts())
        if recent.failed < FEW_FAILURES or recent.failed <= limits.failing * recent.ended:
            continue
        minutes = every[0].seconds / 60
        yield Trouble(
            level="warning",
            what=task or "other tasks",
            message=f"{recent.failed} of {recent.ended} failed in the last {minutes:.0f} min, "
            f"{recent.failed / minutes:.1f} a minute",
            repair=f"task-server failed list --task {task}" if task else "task-server failed list",
        )


def _messages(found: Snapshot) -> Iterator[Trouble]:
    if found.dead:
        yield Trouble(
            level="warning",
            what="dead letters",
            message=f"{found.dead}: they crashed their workers, or no code registers them",
            repair="task-server dead list",
        )
    if found.unreadable:
        yield Trouble(
            level="warning",
            what="unreadable",
            message=f"{found.unreadable} messages cannot be delivered",
            repair="the workers' log has the reasons; find what sends them",
        )
    for what, reason in found.troubles.items():
        yield Trouble(
            level="warning",
            what=what,
            message=f"not complete: {reason}",
            repair="grant the right, or find what else writes that key",
        )


def span(seconds: float) -> str:
    """Return *seconds* as people say them: 45 s, 12 min, 3 h, 2 d."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
