"""What runs for longest, and which pool children cannot go on."""

import time
from collections.abc import Iterable
from typing import Any

from task_server.health.process import is_stopped


def oldest(active: Iterable[Any]) -> dict[str, Any]:
    """Return the fields of the heartbeat about the task of *active* that runs for longest."""
    started = [request for request in active if request.time_start is not None]
    if not started:
        return {"oldest_task": None, "oldest_since": None}
    first = min(started, key=lambda request: float(request.time_start))
    # Celery notes a start by the wall clock.
    since = time.monotonic() - max(0.0, time.time() - first.time_start)
    return {"oldest_task": f"{first.name}[{first.id}]", "oldest_since": round(since, 3)}


class StoppedChildren:
    """
    Looks, at each heartbeat, for children of the pool that are stopped.

    Attributes:
        since: Since when each is, by its pid, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.since: dict[int, float] = {}

    def look(self, pool: Any, active: Iterable[Any], now: float) -> dict[str, Any]:
        """
        Return the fields of the heartbeat about stopped children.

        Args:
            pool: Celery's; one without processes has none.

            active: Requests that run.
        """
        children = getattr(getattr(pool, "_pool", None), "_pool", ())
        pids = [pid for child in list(children) if (pid := getattr(child, "pid", None))]
        stopped = [pid for pid in pids if is_stopped(pid)]
        self.since = {pid: self.since.get(pid, now) for pid in stopped}
        if not stopped:
            return {"stopped": None, "stopped_since": None, "stopped_children": 0}
        return {
            "stopped": _text(stopped, active),
            "stopped_since": min(self.since.values()),
            "stopped_children": len(stopped),
        }


def _text(pids: list[int], active: Iterable[Any]) -> str:
    """Return which children are stopped, and what they run."""
    tasks = {
        request.worker_pid: f"{request.name}[{request.id}]"
        for request in active
        if request.worker_pid in pids
    }
    named = [f"{pid} with {tasks[pid]}" if pid in tasks else str(pid) for pid in pids[:3]]
    more = f" and {len(pids) - len(named)} more" if len(pids) > len(named) else ""
    children = "pool child" if len(pids) == 1 else "pool children"
    verb = "is" if len(pids) == 1 else "are"
    numbers = " ".join(map(str, pids[:3]))
    return (
        f"{children} {', '.join(named)}{more} {verb} stopped, as by SIGSTOP "
        f"(kill -CONT {numbers} lets {'it' if len(pids) == 1 else 'them'} go on)"
    )
