"""What runs inside the worker."""

from pathlib import Path
from typing import Any

from task_server.config import WorkerConfig


def install(app: Any, worker: WorkerConfig, runtime_dir: Path) -> None:
    """Give *app* the steps of *worker*, whose heartbeat lies in *runtime_dir*."""
