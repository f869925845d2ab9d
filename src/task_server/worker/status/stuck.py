"""What keeps a worker from getting on, by its own health check."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from task_server.health import verdict
from task_server.health.heartbeat import Heartbeat
from task_server.launch.timing import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """
    What keeps a worker from getting on.

    Attributes:
        children: Since when children of its pool are stopped, by pid, on the monotonic clock.

        unready: Why its health check says that it is not ready, or dead; empty if it does not.
    """

    children: Mapping[int, float]
    unready: str

    @classmethod
    def of(cls, heartbeat: Heartbeat, children: Mapping[int, float], timing: Timing) -> Self:
        """Return what is true now of the worker whose *heartbeat* is about to be written."""
        return cls(children=dict(children), unready=_unready(heartbeat, timing))


def _unready(heartbeat: Heartbeat, timing: Timing) -> str:
    # A start and a drain are no fault; `status` has a line for a node that is drained by hand.
    if heartbeat.state != "ready" or heartbeat.drained:
        return ""
    now = verdict.now()
    found = verdict.evaluate(
        heartbeat._replace(time=now.time, monotonic=now.monotonic), now, timing
    )
    # And one for stopped children.
    is_said = bool(heartbeat.stopped) and found.reason.startswith(heartbeat.stopped or "")
    return "" if found.ready or is_said else found.reason
