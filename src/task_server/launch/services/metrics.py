"""The metrics, for Prometheus and autoscalers."""

from collections.abc import Mapping

from task_server.config.model import Config
from task_server.launch import requirements
from task_server.launch.command import metrics_command
from task_server.launch.metrics_spec import metrics_spec
from task_server.launch.services.base import Launcher, Process

#: It has nothing to finish.
STOP_SECONDS = 5.0


def _process(
    config: Config, name: str, *, runtime_dir: str, python: str, environ: Mapping[str, str]
) -> Process:
    del name, runtime_dir  # It writes no heartbeat.
    table = config.metrics
    host = f"[{table.address}]" if ":" in table.address else table.address
    return Process(
        command=metrics_command(config, metrics_spec(config), python=python, environ=environ),
        stop_seconds=STOP_SECONDS,
        url=f"http://{host}:{table.port}/metrics",
    )


LAUNCHER = Launcher(
    process=_process, is_installed=requirements.has_metrics, stop_seconds=STOP_SECONDS
)
