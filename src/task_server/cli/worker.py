"""`task-server worker NAME`: become one worker."""

import os
import shlex
import sys
from pathlib import Path

import click

from task_server.cli.completions import complete_workers
from task_server.cli.options import (
    MASK,
    app_option,
    config_option,
    resolved,
    traceback_option,
    unknown_worker,
)
from task_server.cli.spec import spec_here
from task_server.errors import check_all
from task_server.health.folder import prepare_folder
from task_server.launch import folders, requirements
from task_server.launch.command import SECRET_VARIABLES, worker_command
from task_server.launch.process import exec_command
from task_server.project.import_errors import TRACEBACK_VARIABLE
from task_server.settings.mask import masked


@click.command(
    epilog="""
\b
Examples:
  task-server worker prefork                the default queue, `celery`
  task-server worker gevent --app cl        the queue `io_bound`, for the project cl
  task-server worker all --print-argv       the command, and its variables
"""
)
@click.argument("name", shell_complete=complete_workers)
@app_option
@config_option
@click.option(
    "--print-argv",
    is_flag=True,
    envvar="TASK_SERVER_PRINT_ARGV",
    show_envvar=True,
    help="Print the command, quoted for a shell, instead of running it.",
)
@traceback_option
def command(
    name: str, app: str | None, path: Path | None, *, print_argv: bool, show_traceback: bool
) -> None:
    """
    Start the worker NAME in the foreground.

    NAME is a table in `workers`; prefork, gevent and all are built in. The process
    becomes Celery: its PID is the worker's, and signals reach it.
    """
    config = resolved(path, app=app, launched=name).config
    if name not in config.workers:
        raise click.BadParameter(unknown_worker(config, name), param_hint="NAME")
    spec, folder = spec_here(config, name)
    chosen = worker_command(config, spec, python=sys.executable, environ=os.environ)
    if print_argv:
        settings = [
            f"{key}={MASK if key in SECRET_VARIABLES else value}"
            for key, value in chosen.environ.items()
        ]
        # An argument from the project may be a URL with a password.
        click.echo(shlex.join(["env", *masked(settings), *masked(chosen.argv)]))
        return
    check_all(
        lambda: requirements.check(spec.pool_row),
        lambda: folders.check(config, os.environ, Path.cwd()),
        lambda: prepare_folder(folder, os.getuid()),
        source="the environment of the worker",
    )
    environ = {**os.environ, TRACEBACK_VARIABLE: "1"} if show_traceback else os.environ
    exec_command(chosen, environ, block_signals=True)
