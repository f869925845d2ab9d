"""`task-server metrics`: show queues and workers to Prometheus and to autoscalers."""

import os
import sys
from pathlib import Path

import click

from task_server.cli.options import (
    PortOption,
    app_option,
    config_option,
    resolved,
    traceback_option,
)
from task_server.errors import check_all
from task_server.launch import folders, requirements
from task_server.launch.command import metrics_command
from task_server.launch.metrics_spec import metrics_spec
from task_server.launch.process import exec_command
from task_server.project.import_errors import TRACEBACK_VARIABLE


@click.command(
    epilog="""
\b
Examples:
  task-server metrics                         on 127.0.0.1:9808
  task-server metrics --host 0.0.0.0
  curl http://127.0.0.1:9808/metrics          for Prometheus
  curl http://127.0.0.1:9808/queues/celery    one queue, for an autoscaler
  curl http://127.0.0.1:9808/workers/gevent   all queues of one kind of worker
  curl http://127.0.0.1:9808/healthz
"""
)
@app_option
@config_option
@click.option(
    "--host",
    "--address",
    "address",
    envvar="TASK_SERVER_METRICS_ADDRESS",
    show_envvar=True,
    help="Address to listen on.  [default: 127.0.0.1]",
)
@click.option(
    "--port",
    cls=PortOption,
    type=click.IntRange(0, 65535),
    envvar="TASK_SERVER_METRICS_PORT",
    show_envvar=True,
    help="TCP port to listen on; 0 is any free one.  [default: 9808]",
)
@traceback_option
def command(
    app: str | None,
    path: Path | None,
    address: str | None,
    port: int | None,
    *,
    show_traceback: bool,
) -> None:
    """
    Serve what `status` knows over HTTP, in the foreground.

    It asks Redis when it is asked, at most once a second, and no worker. Whoever reaches its
    port can read all of it: keep that from the internet.
    """
    config = resolved(path, app=app, metrics_address=address, metrics_port=port).config
    check_all(
        requirements.check_metrics,
        lambda: folders.check(config, os.environ, Path.cwd(), media=False),
        source="the environment of the metrics",
    )
    chosen = metrics_command(
        config, metrics_spec(config), python=sys.executable, environ=os.environ
    )
    environ = {**os.environ, TRACEBACK_VARIABLE: "1"} if show_traceback else os.environ
    exec_command(chosen, environ, block_signals=True)
