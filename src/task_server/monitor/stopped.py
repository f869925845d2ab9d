"""What a snapshot says of paused queues and drained nodes: pure."""

import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from task_server.monitor.model import Queue, Snapshot
from task_server.transport.store.stops import Stop

#: Says seconds since 1970 as people do.
Clock = Callable[[float], str]


def clock(seconds: float, now: float | None = None) -> str:
    """
    Return *seconds* since 1970 as a time of day; '?' if invalid.

    Args:
        now: On another day than that one the date is said, too.
    """
    try:
        at = datetime.fromtimestamp(seconds, UTC)
        is_today = now is None or at.date() == datetime.fromtimestamp(now, UTC).date()
    except (OverflowError, OSError, ValueError):
        return "?"
    return f"{at:%H:%M:%SZ}" if is_today else f"{at:%Y-%m-%d %H:%MZ}"


def stopped(found: Snapshot, say: Clock) -> Iterator[dict[str, str]]:
    """Return what is stopped in *found*: what it is, a message, and how to end that."""
    for queue in found.queues:
        if queue.paused is not None:
            yield _row(queue.name, _paused(queue, queue.paused, found, say))
    there = {worker.node: worker for worker in found.workers if worker.state != "silent"}
    for node, stop in found.drained.items():
        worker = there.get(node)
        if worker is None:
            message = "it is not there; under this name none takes messages"
        elif not worker.obeys:
            message = "it does not obey: it is of Celery, or of an older version"
        else:
            message = f"{worker.active or 0} tasks run"
        yield _row(node, f"drained {by(stop, say)}; {message}")


def _paused(queue: Queue, stop: Stop, found: Snapshot, say: Clock) -> str:
    free = [one.node for one in found.workers if one.may_ignore_pause(queue.name)]
    left = f"; not bound by it: {', '.join(free[:3])}" if free else ""
    return f"paused {by(stop, say)}; {queue.length} wait{left}"


def by(stop: Stop, say: Clock) -> str:
    """Return who stopped it, and since when, as far as that is known."""
    who = f"by {stop.who}" if stop.who else "by hand"
    return who if stop.at is None else f"{who} since {say(stop.at)}"


def _row(what: str, message: str) -> dict[str, str]:
    repair = f"task-server resume {shlex.quote(what)}"
    return {"what": what, "message": message, "repair": repair}
