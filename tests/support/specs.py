"""A worker's spec without the configuration around it."""

from task_server.config.model import Config, WorkerConfig
from task_server.launch.precedence import worker_spec
from task_server.launch.profiles import Machine
from task_server.launch.spec import WorkerSpec

#: One processor and no limit of memory.
MACHINE = Machine(cores=1, memory=None)


def spec_of(
    worker: WorkerConfig,
    machine: Machine = MACHINE,
    *,
    visibility_timeout: float | None = None,
    runtime_dir: str = "/run",
) -> WorkerSpec:
    """Return the spec of *worker* alone, as the operator wrote it."""
    config = Config(workers={worker.name: worker}, visibility_timeout=visibility_timeout)
    return worker_spec(config, worker.name, machine, runtime_dir=runtime_dir)
