"""What there is to say of a child while it runs, for `ps`."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from task_server.local.supervisor.process import Process

State = Literal["starting", "ready", "draining", "failed"]


@dataclass(frozen=True, slots=True)
class Status:
    """
    One child.

    Attributes:
        pid: None where it failed.

        since: When this process was started, in seconds since the epoch.

        restarts: How often it was started again.

        address: Where clients reach it, or None.
    """

    name: str
    pid: int | None
    state: State
    since: float
    restarts: int
    address: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return it in the types of JSON."""
        return asdict(self)


def status_of(process: Process, restarts: int) -> Status:
    """Return the status of *process*, whose child was started again *restarts* times."""
    return Status(
        name=process.child.name,
        pid=process.pid if process.alive else None,
        state=_state(process),
        since=process.started,
        restarts=restarts,
        address=process.child.address,
    )


def _state(process: Process) -> State:
    if not process.alive:
        return "failed"
    if process.stopping:
        return "draining"
    return "ready" if process.ready else "starting"
