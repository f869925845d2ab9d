"""`task-server health`, for the list of commands; `__main__` runs it without click."""

import os
import sys

import click

from task_server.cli.completions import complete_processes
from task_server.health.command import main


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
    short_help="Report whether a worker, or Flower, is alive and ready.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=complete_processes)
def command(arguments: tuple[str, ...]) -> None:
    """Report whether a worker, or Flower, is alive and ready."""
    sys.exit(main(arguments, os.environ))
