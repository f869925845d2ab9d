"""`task-server env`: the variables that lead other processes to the servers of `up`."""

from pathlib import Path

import click

from task_server.cli.joined import variables_of
from task_server.cli.options import state_option
from task_server.local.control.client import RunningUp
from task_server.local.variables import FORMATS


@click.command(
    epilog="""
\b
Examples:
  eval "$(task-server env)"                       for this shell
  task-server env --format dotenv >> .env         for what reads such a file
  echo 'eval "$(task-server env)"' >> .envrc      for direnv
"""
)
@click.option(
    "--format",
    "name",
    type=click.Choice(list(FORMATS)),
    default="shell",
    envvar="TASK_SERVER_ENV_FORMAT",
    show_envvar=True,
    help="How to write them.",
)
@state_option
def command(name: str, state: Path) -> None:
    """
    Print the variables that the project's other processes need, its web server for example.

    They lead to the servers of the `up` that runs in this folder. What was set when it was
    started is not printed; a REDIS_URL of yours is referred to by its name.
    """
    text = FORMATS[name](variables_of(RunningUp.get(state)))
    if text:
        click.echo(text)
