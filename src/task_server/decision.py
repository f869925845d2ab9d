"""What the launcher decided, frozen into one variable of the worker's environment."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from task_server.config import WorkerConfig

#: Names the project's Celery app.
APP_VARIABLE = "TASK_SERVER_APP"

#: Carries the decision.
WORKER_VARIABLE = "TASK_SERVER_WORKER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """
    What a worker needs to know that Celery's arguments cannot say; no secrets.

    Attributes:
        worker: Its configuration; nothing in it is left to be chosen.

        visibility_timeout: Seconds after which an unacknowledged message
            returns to its queue.

        runtime_dir: Folder of its heartbeat.
    """

    worker: WorkerConfig
    visibility_timeout: float
    runtime_dir: str

    def freeze(self) -> str:
        """Return the decision as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def thaw(cls, frozen: str) -> Self:
        """Return the decision that `freeze` wrote."""
        values = json.loads(frozen)
        worker: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.pop("worker").items()
        }
        return cls(worker=WorkerConfig(**worker), **values)
