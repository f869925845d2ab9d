"""Beat, which sends the project's periodic tasks."""

from collections.abc import Mapping

from task_server.config.model import Config
from task_server.launch.beat_spec import beat_spec
from task_server.launch.command import beat_command
from task_server.launch.services.base import Launcher, Process
from task_server.launch.timing import Timing

#: To end what it sends, to save the schedule and to give up the lock.
STOP_SECONDS = 15.0


def _process(
    config: Config, name: str, *, runtime_dir: str, python: str, environ: Mapping[str, str]
) -> Process:
    del name
    timing = Timing.from_environ(environ)
    spec = beat_spec(config, runtime_dir=runtime_dir, environ=environ, timing=timing)
    return Process(
        command=beat_command(config, spec, python=python, environ=environ),
        stop_seconds=STOP_SECONDS,
    )


def _is_installed() -> bool:
    """Whether it is there: it is a part of Celery."""
    return True


LAUNCHER = Launcher(process=_process, is_installed=_is_installed, stop_seconds=STOP_SECONDS)
