"""The workers of the configuration."""

from collections.abc import Mapping

from task_server.config.model import Config
from task_server.launch.command import worker_command
from task_server.launch.machine import this_machine
from task_server.launch.precedence import worker_spec
from task_server.launch.services.base import Launcher, Process
from task_server.launch.timing import Timing


def _process(
    config: Config, name: str, *, runtime_dir: str, python: str, environ: Mapping[str, str]
) -> Process:
    spec = worker_spec(
        config,
        name,
        this_machine(),
        runtime_dir=runtime_dir,
        timing=Timing.from_environ(environ),
    )
    return Process(
        command=worker_command(config, spec, python=python, environ=environ),
        stop_seconds=spec.stop_seconds,
    )


def _is_installed() -> bool:
    """Whether it is there: task-server itself depends on Celery."""
    return True


LAUNCHER = Launcher(process=_process, is_installed=_is_installed)
