"""The spec of a worker that would run in this process's place."""

import os
from pathlib import Path

from task_server.config.model import Config
from task_server.health.folder import heartbeat_folder
from task_server.launch.machine import this_machine
from task_server.launch.precedence import worker_spec
from task_server.launch.spec import WorkerSpec
from task_server.launch.timing import Timing


def spec_here(config: Config, name: str) -> tuple[WorkerSpec, Path]:
    """Return the spec of the worker *name* on this machine, for this user, and its folder."""
    folder = heartbeat_folder(config, os.environ, os.getuid())
    timing = Timing.from_environ(os.environ)
    spec = worker_spec(config, name, this_machine(), runtime_dir=str(folder), timing=timing)
    return spec, folder
