"""`task-server flower`: become Flower."""

import os
import sys
from pathlib import Path

import click

from task_server.cli.options import PortOption, app_option, config_option, resolved
from task_server.launch import requirements
from task_server.launch.command import flower_command
from task_server.launch.process import exec_command


@click.command(
    epilog="""
\b
Examples:
  task-server flower                                  on 127.0.0.1:5555
  TASK_SERVER_FLOWER_BASIC_AUTH_FILE=/run/secrets/flower task-server flower --address 0.0.0.0
"""
)
@app_option
@config_option
@click.option(
    "--address",
    envvar="TASK_SERVER_FLOWER_ADDRESS",
    show_envvar=True,
    help="Address to listen on.  [default: 127.0.0.1]",
)
@click.option(
    "--port",
    cls=PortOption,
    type=click.IntRange(0, 65535),
    envvar="TASK_SERVER_FLOWER_PORT",
    show_envvar=True,
    help="TCP port to listen on.  [default: 5555]",
)
def command(app: str | None, path: Path | None, address: str | None, port: int | None) -> None:
    """Start Flower, which watches the workers, in the foreground."""
    requirements.check_flower()
    config = resolved(path, app=app, flower_address=address, flower_port=port).config
    exec_command(flower_command(config, python=sys.executable, environ=os.environ), os.environ)
