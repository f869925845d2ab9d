"""`task-server restart NAME…`: a drain and a new start."""

from pathlib import Path

import click

from task_server.cli.completions import complete_running
from task_server.cli.options import state_option
from task_server.local.control.client import RunningUp


@click.command(
    epilog="""
\b
Examples:
  task-server restart prefork
  task-server restart prefork gevent flower
"""
)
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_running
)
@state_option
def command(names: tuple[str, ...], state: Path) -> None:
    """
    Restart processes of the `up` that runs in this folder, and wait until they are ready.

    A worker ends its tasks first, as at any stop; see `task-server ps` for the names.
    """
    running = RunningUp.get(state)
    with running.stream("restart", *names) as stream:
        for answer in stream:
            if answer["event"] == "end":
                return
            click.echo(f"{answer['name']} is ready")
    raise running.has_ended()
