"""What a worker is, decided: from here on nothing is left to be chosen."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from task_server.config.model import WorkerConfig
from task_server.config.pools import POOLS, Pool
from task_server.launch.timing import Timing

#: Names the project's Celery app.
APP_VARIABLE = "TASK_SERVER_APP"

#: Names the function that the project needs called before its app is imported.
SETUP_VARIABLE = "TASK_SERVER_SETUP"

#: Carries the spec from the launcher to the worker.
WORKER_VARIABLE = "TASK_SERVER_WORKER"

#: How long the project's import may stall where no launcher decided.
IMPORT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec(WorkerConfig):
    """
    One worker with all its numbers; no secrets, so that it may stand in the environment.

    It has every setting of a worker as the operator wrote it
    (`task_server.config.model.WorkerConfig` describes them), or as
    `task_server.launch.precedence` decided it where that may be left out: here nothing
    is optional. Sizes are bytes and times are seconds; 0 stands for "no limit" and "never".

    Attributes:
        prefetch_multiplier: Messages reserved for each place of the pool; 0 is no limit.

        memory_limit: At which the worker drains to be restarted; 0 is never.

        max_memory_per_child: At which a child is replaced; 0 is never.

        max_tasks_per_child: After which a child is replaced; 0 leaves it to the project.

        memory: What the whole worker may use; 0 if nothing limits it.

        visibility_timeout: After which an unacknowledged message returns to its queue.

        runtime_dir: Folder of its heartbeat.

        origins: Who gave each of its settings that the operator gave, by name;
            these win over the project's own.

        import_seconds: How long the project's import may stall.

        secrets_in_environment: Whether programs that tasks start inherit the
            URLs of broker and result backend.

        machine: Name of the machine that it runs on; "" if nobody said.

        failures_kept, failures_max_age, failures_max_bytes: What is kept of failed tasks.

        timing: Its intervals and time-outs.
    """

    # The settings that may be left out.
    concurrency: int
    prefetch_multiplier: int
    memory_limit: int
    max_memory_per_child: int
    max_tasks_per_child: int
    time_limit: float
    soft_time_limit: float

    # What is no setting of one worker.
    memory: int
    visibility_timeout: float
    runtime_dir: str
    origins: Mapping[str, str]
    import_seconds: float
    secrets_in_environment: bool
    failures_kept: int
    failures_max_age: float
    failures_max_bytes: int
    machine: str = ""
    timing: Timing = field(default_factory=Timing)

    @property
    def pool_row(self) -> Pool:
        """The facts of its pool."""
        return POOLS[self.pool]

    def to_json(self) -> str:
        """Return the spec as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the spec that `to_json` wrote."""
        values = json.loads(text)
        values["timing"] = Timing(**values["timing"])
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})
