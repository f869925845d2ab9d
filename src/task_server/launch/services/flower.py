"""Flower, which shows the workers."""

from collections.abc import Mapping

from task_server.config.model import Config
from task_server.config.tables import FlowerConfig
from task_server.launch import requirements
from task_server.launch.command import flower_command
from task_server.launch.services.base import Launcher, Process

#: It has nothing to finish.
STOP_SECONDS = 5.0


def _url(flower: FlowerConfig) -> str:
    return f"http://{flower.address}:{flower.port}/{flower.url_prefix.strip('/')}"


def _process(
    config: Config, name: str, *, runtime_dir: str, python: str, environ: Mapping[str, str]
) -> Process:
    del name, runtime_dir  # It writes no heartbeat.
    return Process(
        command=flower_command(config, python=python, environ=environ),
        stop_seconds=STOP_SECONDS,
        url=_url(config.flower),
    )


LAUNCHER = Launcher(
    process=_process, is_installed=requirements.has_flower, stop_seconds=STOP_SECONDS
)
