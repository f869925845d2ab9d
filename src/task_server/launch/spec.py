"""What the launcher decided, frozen into one variable of the worker's environment."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from task_server.config.model import WorkerConfig
from task_server.launch.timing import Timing

#: Names the project's Celery app.
APP_VARIABLE = "TASK_SERVER_APP"

#: Carries the decision.
WORKER_VARIABLE = "TASK_SERVER_WORKER"

#: How long the project's import may stand still where nobody decided.
IMPORT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """
    What a worker needs to know that Celery's arguments cannot say; no secrets.

    Attributes:
        worker: Its configuration; nothing in it is left to be chosen.

        given: The same as it was written, with None for what is left to the
            profile of the pool; None where that is not known.

        said: Who gave each of its settings that the operator gave, by name;
            these win over the project's own.

        visibility_timeout: Seconds after which an unacknowledged message
            returns to its queue.

        runtime_dir: Folder of its heartbeat.

        import_seconds: How long the project's import may stand still.

        secrets_in_environment: Whether programs that tasks start inherit the
            URLs of broker and result backend.

        timing: Its intervals and time-outs.
    """

    worker: WorkerConfig
    visibility_timeout: float
    runtime_dir: str
    given: WorkerConfig | None = None
    said: Mapping[str, str] = field(default_factory=dict)
    import_seconds: float = IMPORT_SECONDS
    secrets_in_environment: bool = False
    timing: Timing = field(default_factory=Timing)

    def freeze(self) -> str:
        """Return the decision as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def thaw(cls, frozen: str) -> Self:
        """Return the decision that `freeze` wrote."""
        values = json.loads(frozen)
        worker, given = (_thawed(values.pop(name)) for name in ("worker", "given"))
        assert worker is not None  # noqa: S101 - `freeze` wrote one
        values["timing"] = Timing(**values["timing"])
        return cls(worker=worker, given=given, **values)


def _thawed(values: dict[str, Any] | None) -> WorkerConfig | None:
    if values is None:
        return None
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return WorkerConfig(**fields)
