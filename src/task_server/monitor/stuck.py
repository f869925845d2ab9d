"""What is wrong with a worker: it is silent, a child is stopped, a task does not end: pure."""

from collections.abc import Collection, Iterator
from typing import Final

from task_server.monitor.model import Snapshot, StoppedChild, Worker
from task_server.monitor.stopped import Clock
from task_server.monitor.trouble import LEAST, TIMES, UNKNOWN_RUN, Limits, Trouble, span
from task_server.transport.store.in_flight import InFlight

#: Seconds that a time limit may take to end a task.
OVER: Final = 10.0

#: Tasks of a silent worker that are named.
FEW: Final = 3


def stuck(worker: Worker, found: Snapshot, limits: Limits, say: Clock) -> Iterator[Trouble]:
    """Return what is wrong with *worker*; *say* says a time."""
    if worker.state == "silent" and worker.since is not None:
        yield _silent(worker, worker.since, found, say)
        return
    for child in worker.stopped:
        yield _stopped(worker, child, say)
    if worker.unready:
        yield Trouble(
            level="error",
            what=worker.node,
            message=f"not ready: {worker.unready}",
            repair=f"its health, on {worker.place}: {_health(worker)}",
        )
    yield from _long(worker, found, limits, {child.tag for child in worker.stopped})


def over_limit(worker: Worker, now: float) -> list[str]:
    """Return the tags of the tasks that have run beyond their time limit: it does not end them."""
    if worker.state == "silent":
        return []
    return [
        tag
        for tag, limit in worker.limits.items()
        if tag in worker.started and now - worker.started[tag] > limit + OVER
    ]


def _silent(worker: Worker, since: float, found: Snapshot, say: Clock) -> Trouble:
    until = max((one.lease_until or 0.0 for one in worker.in_flight), default=0.0)
    count = len(worker.in_flight)
    look = f"{_health(worker)} on {worker.place} says whether it is stopped, hangs or has ended"
    if worker.renews:
        repair = f"restart it: until then nobody else gets what it has; {look}"
    elif count and until > found.at:
        repair = f"what it has runs elsewhere then; {look}"
    elif count:
        repair = f"start a worker of this broker, which takes over what it has; {look}"
    else:
        repair = f"{look}; it is forgotten after a day"
    lives = ", and its process lives: something blocks its loop" if worker.renews else ""
    held = f"; {count} messages are its own until {say(until)}: " if count else ""
    return Trouble(
        level="error" if count else "warning",
        what=worker.node,
        message=f"silent since {say(since)}{_place(worker)}{lives}{held}"
        + (_held(worker, found) if count else ""),
        repair=repair,
    )


def _held(worker: Worker, found: Snapshot) -> str:
    """Return what a silent *worker* has: first what it said that it runs, the longest first."""
    running = [one for one in worker.in_flight if one.tag in worker.started]
    running.sort(key=lambda one: worker.started[one.tag])
    every = running + [one for one in worker.in_flight if one.tag not in worker.started]
    named = [_one(one, worker, found) for one in every[:FEW]]
    more = [f"{len(every) - FEW} more"] if len(every) > FEW else []
    return ", ".join(named + more)


def _one(one: InFlight, worker: Worker, found: Snapshot) -> str:
    since = worker.started.get(one.tag, one.fetched_at)
    known = [] if since is None else [f"for {span(max(0.0, found.at - since))}"]
    usual = found.usual.get(one.task)
    known += [] if usual is None else [f"usual {_exact(usual)}"]
    return f"{one.task}[{one.id}]" + (f" ({', '.join(known)})" if known else "")


def _exact(seconds: float) -> str:
    """Return *seconds* as `span`, but for what is shorter than a second or two."""
    return f"{seconds:.2g} s" if seconds < 2 else span(seconds)  # noqa: PLR2004


def _stopped(worker: Worker, child: StoppedChild, say: Clock) -> Trouble:
    task = next((f"{one.task}[{one.id}]" for one in worker.in_flight if one.tag == child.tag), "")
    return Trouble(
        level="error",
        what=worker.node,
        message=f"pool child {child.pid} is stopped since {say(child.since)}, as by SIGSTOP"
        + (f", with {task}" if task else ""),
        repair=f"on {worker.place}: kill -CONT {child.pid} lets it go on; kill -9 {child.pid} "
        "ends it, and what it has runs again",
    )


def _long(
    worker: Worker, found: Snapshot, limits: Limits, stopped: Collection[str]
) -> Iterator[Trouble]:
    """Return what is wrong with the tasks that run, but those of *stopped* children."""
    by_tag = {one.tag: one for one in worker.in_flight}
    for tag, started in sorted(worker.started.items(), key=lambda item: item[1]):
        seconds, one = found.at - started, by_tag.get(tag)
        if one is None or tag in stopped:
            continue
        limit, usual = worker.limits.get(tag), found.usual.get(one.task)
        if seconds <= _longest_run(limits, limit, usual):
            continue
        is_over = limit is not None and seconds > limit + OVER
        known = [f"usual {_exact(usual)}"] if usual is not None else []
        known += [f"limit {limit:.0f} s"] if limit is not None else ["no time limit"]
        yield Trouble(
            level="error" if is_over else "warning",
            what=worker.node,
            message=f"{one.task}[{one.id}] has been running for {seconds:.0f} s "
            f"({', '.join(known)})",
            repair=_repair(worker, tag, limit, is_over=is_over),
        )


def _longest_run(limits: Limits, limit: float | None, usual: float | None) -> float:
    if limits.running is not None:
        return limits.running
    longest = UNKNOWN_RUN if usual is None else max(LEAST, TIMES * usual)
    return longest if limit is None else min(longest, limit + OVER)


def _repair(worker: Worker, tag: str, limit: float | None, *, is_over: bool) -> str:
    child = worker.pids.get(tag)
    if child is None:
        where = f"SIGUSR1 to pid {worker.pid} on {worker.place} logs all stacks"
        end = "restart that worker"
    else:
        # To a child that signal is a soft time limit, and the main process knows nothing of it.
        where = f"py-spy dump --pid {child} on {worker.place} shows it"
        end = f"kill -9 {child} ends it, and it runs again; a hard `time_limit` ends it for good"
    if is_over:
        return f"its limit does not end it, so it hangs in C code: {where}; {end}"
    return f"see where: {where}" + ("" if limit else "; give it a time limit")


def _health(worker: Worker) -> str:
    """Return the command that says more, on its host."""
    return f"task-server health {worker.node.partition('@')[0]}"


def _place(worker: Worker) -> str:
    """Return the machine that *worker* is on, as an addition; empty if that is unknown."""
    return f" on {worker.machine}" if worker.machine else ""
