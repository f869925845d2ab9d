"""`task-server beat`: send the project's periodic tasks."""

import os
import shlex
import sys
from pathlib import Path

import click

from task_server.cli.options import MASK, app_option, config_option, resolved, traceback_option
from task_server.errors import check_all
from task_server.health.folder import prepare_folder
from task_server.launch import folders, requirements
from task_server.launch.beat_spec import beat_spec_here
from task_server.launch.command import SECRET_VARIABLES, beat_command
from task_server.launch.process import exec_command
from task_server.project.import_errors import TRACEBACK_VARIABLE
from task_server.settings.mask import masked


@click.command(
    epilog="""
\b
Examples:
  task-server beat                    the schedule of the project in this folder
  task-server beat --app cl           of the project cl
  task-server health beat --ready     whether it sends, or waits for another that does
"""
)
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
def command(app: str | None, path: Path | None, *, print_argv: bool, show_traceback: bool) -> None:
    """
    Send the project's periodic tasks, in the foreground.

    Of several, one sends; the others wait and take over within seconds of its death
    (`beat.lock_seconds`). The table `beat` of the configuration has the rest.
    """
    config = resolved(path, app=app).config
    spec, folder = beat_spec_here(config, os.environ)
    chosen = beat_command(config, spec, python=sys.executable, environ=os.environ)
    if print_argv:
        settings = [
            f"{key}={MASK if key in SECRET_VARIABLES else value}"
            for key, value in chosen.environ.items()
        ]
        click.echo(shlex.join(["env", *masked(settings), *chosen.argv]))
        return
    check_all(
        requirements.check_beat,
        lambda: folders.check(config, os.environ, Path.cwd(), media=False),
        lambda: prepare_folder(folder, os.getuid()),
        lambda: prepare_folder(Path(spec.folder), os.getuid(), "beat.folder"),
        source="the environment of beat",
    )
    environ = {**os.environ, TRACEBACK_VARIABLE: "1"} if show_traceback else os.environ
    exec_command(chosen, environ, block_signals=True)
