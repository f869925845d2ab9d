"""
Is this worker alive, and is it ready? The rules, applied to its heartbeat.

`task-server health` and the worker itself, before it answers systemd's watchdog,
apply the same ones.
"""

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from task_server.health.heartbeat import Heartbeat, read
from task_server.health.limits import Limits
from task_server.health.process import boot_id, is_running, is_stopped, waited

if TYPE_CHECKING:
    from pathlib import Path

#: Outside of tests.
DEFAULT_LIMITS = Limits()


class Now(NamedTuple):
    """
    The time of the verdict, on the clocks of a heartbeat.

    Attributes:
        waited: For how long the process has waited for a processor, as its heartbeat has it;
            None if unknown.
    """

    time: float
    monotonic: float
    boot_id: str
    waited: float | None = None


class Verdict(NamedTuple):
    """
    Whether a worker is alive (else it needs a restart), ready for tasks, and why.

    Attributes:
        details: The same for programs, such as its numbers.
    """

    alive: bool
    ready: bool
    reason: str
    details: Mapping[str, Any] = MappingProxyType({})


def now(pid: int = 0) -> Now:
    """Return the current time, of the process *pid* if that is not 0."""
    return Now(
        time=time.time(),
        monotonic=time.monotonic(),
        boot_id=boot_id(),
        waited=waited(pid) if pid else None,
    )


def check(
    runtime_dir: "str | Path",
    name: str,
    timing: Limits = DEFAULT_LIMITS,
    owner: int | None = None,
) -> Verdict:
    """
    Return the verdict on the worker *name*, from its heartbeat and its process.

    Args:
        owner: The user who must own *runtime_dir*; None allows any.
    """
    heartbeat = read(runtime_dir, name, owner)
    if isinstance(heartbeat, str):
        return Verdict(alive=False, ready=False, reason=heartbeat)
    return check_heartbeat(heartbeat, timing)


def check_heartbeat(heartbeat: Heartbeat, timing: Limits = DEFAULT_LIMITS) -> Verdict:
    """Return the verdict on the worker that wrote *heartbeat*, from its process."""
    running = is_running(heartbeat.pid, heartbeat.pid_start)
    stopped = running and is_stopped(heartbeat.pid)
    at = now(heartbeat.pid)
    found = evaluate(heartbeat, at, timing, running=running, stopped=stopped)
    return found._replace(details=_details(heartbeat, at.monotonic))


def evaluate(
    heartbeat: Heartbeat,
    now: Now,
    timing: Limits = DEFAULT_LIMITS,
    *,
    running: bool = True,
    stopped: bool = False,
) -> Verdict:
    """
    Return the verdict on a worker.

    Args:
        running: Whether its process still exists.

        stopped: Whether a signal or a debugger has stopped it.
    """
    if reason := _dead_reason(heartbeat, now, timing, running=running):
        if running and stopped:
            reason = f"{_stopped(heartbeat)} for {now.monotonic - heartbeat.monotonic:.0f} s"
        return Verdict(alive=False, ready=False, reason=reason)
    if stopped:
        return Verdict(alive=True, ready=False, reason=_stopped(heartbeat))
    if reason := _not_ready_reason(heartbeat, now):
        return Verdict(alive=True, ready=False, reason=reason)
    reason = f"{_running(heartbeat, now)}, {heartbeat.free} of {heartbeat.concurrency} slots free"
    if heartbeat.stopped:
        reason += f"; {heartbeat.stopped}, for {_seconds(heartbeat.stopped_since, now):.0f} s"
    if heartbeat.paused:
        reason += f"; paused: {heartbeat.paused}"
    return Verdict(alive=True, ready=True, reason=reason)


def _details(heartbeat: Heartbeat, monotonic: float) -> dict[str, Any]:
    since = heartbeat.oldest_since
    return {
        "state": heartbeat.state,
        "node": heartbeat.node,
        "pid": heartbeat.pid,
        "active": heartbeat.active,
        "free": heartbeat.free,
        "concurrency": heartbeat.concurrency,
        "processed": heartbeat.processed,
        "oldest_task": heartbeat.oldest_task,
        "oldest_seconds": None if since is None else round(max(0.0, monotonic - since), 1),
        "stopped_children": heartbeat.stopped_children,
    }


def _seconds(since: float | None, now: Now) -> float:
    return max(0.0, now.monotonic - (now.monotonic if since is None else since))


def _running(heartbeat: Heartbeat, now: Now) -> str:
    text = f"{heartbeat.active} running"
    if heartbeat.oldest_task is None:
        return text
    which = "" if heartbeat.active == 1 else "the longest, "
    seconds = _seconds(heartbeat.oldest_since, now)
    return f"{text} ({which}{heartbeat.oldest_task}, for {seconds:.0f} s)"


def _stopped(heartbeat: Heartbeat) -> str:
    pid = heartbeat.pid
    return f"process {pid} is stopped, as by SIGSTOP (kill -CONT {pid} lets it go on)"


def _dead_reason(heartbeat: Heartbeat, now: Now, timing: Limits, *, running: bool) -> str:
    """Return why the worker needs a restart; empty if it does not."""
    if heartbeat.boot_id != now.boot_id:
        return "the heartbeat is from before the last reboot"
    if not running:
        return f"process {heartbeat.pid} has exited"
    if heartbeat.state == "draining":
        # Celery's own last steps write no heartbeat.
        overdue = now.monotonic - (heartbeat.until or heartbeat.monotonic)
        overdue -= without_processor(heartbeat.waited, now)
        return f"should have stopped {overdue:.0f} s ago" if overdue > timing.max_overdue else ""
    age = now.monotonic - heartbeat.monotonic - without_processor(heartbeat.waited, now)
    if age > _max_age(heartbeat, timing):
        reason = f"event loop blocked for {age:.0f} s"
        if _is_green(heartbeat.pool):
            reason += "; a task that computes, or blocks outside gevent, stops all others"
            if heartbeat.active:
                reason += f"; {_running(heartbeat, now)}"
        return reason
    if heartbeat.state == "starting" and heartbeat.connecting_since is None:
        since = now.monotonic - heartbeat.started - without_processor(0.0, now)
        return f"has been starting for {since:.0f} s" if since > timing.max_start else ""
    return _stalled_reason(heartbeat, now, timing)


def without_processor(before: float | None, now: Now) -> float:
    """
    Return for how many seconds the process could have run, and had no processor.

    That is no sign of a hang: its cgroup has used up its quota, or the machine is busy.

    Args:
        before: What the kernel had counted at the beginning of the time that is judged.
    """
    if before is None or now.waited is None:
        return 0.0
    return max(0.0, now.waited - before)


def _is_green(pool: str) -> bool:
    # Only of a worker that is dead.
    from task_server.config.pools import POOLS  # noqa: PLC0415

    return pool in POOLS and POOLS[pool].green


def _stalled_reason(heartbeat: Heartbeat, now: Now, timing: Limits) -> str:
    """Return what has made no progress for too long; empty if nothing has stalled."""
    if reason := _too_long(heartbeat, now, heartbeat.dead_seconds, "task_dead_seconds"):
        return reason
    if heartbeat.lost and not heartbeat.free:
        return f"{heartbeat.lost} tasks occupy slots but run nowhere, and no slot is free"
    if heartbeat.database_stuck and heartbeat.database_since is not None:
        stuck = now.monotonic - heartbeat.database_since
        if stuck > timing.max_database_wait:
            return f"{heartbeat.database}, for {stuck:.0f} s"
    # A restart would not fix a missing permission or a key of the wrong type.
    if heartbeat.connected and heartbeat.backlog_since is not None and not heartbeat.refusal:
        idle = now.monotonic - heartbeat.backlog_since
        if idle > timing.max_idle:
            return (
                f"idle for {idle:.0f} s with {sum(heartbeat.queues.values())} messages queued "
                f"and {heartbeat.free} of {heartbeat.concurrency} slots free"
            )
    return ""


def _max_age(heartbeat: Heartbeat, timing: Limits) -> float:
    """Return how old the heartbeat may be while the worker does what it is doing."""
    if heartbeat.connecting_since is not None:
        return max(timing.stale, timing.max_connect)
    if heartbeat.state == "starting":
        return max(timing.stale, timing.max_start)
    return timing.stale


def _closed_reason(heartbeat: Heartbeat) -> str:
    """Return why Redis answers, and the worker gets nothing all the same."""
    if heartbeat.drained:
        return (
            f"draining {heartbeat.drained}, {heartbeat.active} running; `task-server resume "
            f"{heartbeat.node}` ends that, a restart does not"
        )
    return f"{heartbeat.refusal}; a restart does not help"


def _not_ready_reason(heartbeat: Heartbeat, now: Now) -> str:
    """Return why a live worker fetches no tasks now; empty if it does."""
    if heartbeat.state == "draining":
        return f"draining ({heartbeat.reason}), {heartbeat.active} running"
    if heartbeat.connecting_since is not None:
        since = now.monotonic - heartbeat.connecting_since
        why = f" ({heartbeat.trouble})" if heartbeat.trouble else ""
        return f"Redis has not answered for {since:.0f} s{why}; a restart does not help"
    if heartbeat.state == "ready" and heartbeat.lost:
        return (
            f"{heartbeat.lost} of {heartbeat.concurrency} slots are occupied by tasks that run "
            "nowhere; a restart frees them"
        )
    if heartbeat.drained or heartbeat.refusal:
        return _closed_reason(heartbeat)
    if heartbeat.state == "ready":
        missing = f"{heartbeat.missing}; a restart does not help" if heartbeat.missing else ""
        return missing or heartbeat.database or _stuck(heartbeat, now)
    return heartbeat.state


def _stuck(heartbeat: Heartbeat, now: Now) -> str:
    """Return why none of its tasks gets on; empty if that is not known."""
    if heartbeat.stopped and heartbeat.stopped_children >= heartbeat.concurrency:
        return f"{heartbeat.stopped}, for {_seconds(heartbeat.stopped_since, now):.0f} s"
    return _too_long(heartbeat, now, heartbeat.unready_seconds, "task_unready_seconds")


def _too_long(heartbeat: Heartbeat, now: Now, limit: float, setting: str) -> str:
    """Return which task has run for longer than the *setting* allows; empty if none has."""
    seconds = _seconds(heartbeat.oldest_since, now)
    if not limit or heartbeat.oldest_task is None or seconds <= limit:
        return ""
    return f"{heartbeat.oldest_task} has run for {seconds:.0f} s ({setting} is {limit:g})"
