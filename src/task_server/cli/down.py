"""`task-server down`: the end of the `up` that runs in this folder."""

from pathlib import Path

import click

from task_server.cli.options import state_option
from task_server.local.control.client import RunningUp


@click.command(
    epilog="""
\b
Examples:
  task-server down
  task-server down --state /var/tmp/cl
"""
)
@state_option
def command(state: Path) -> None:
    """
    Stop the `up` that runs in this folder, attached or not, and wait for its end.

    Workers end their tasks first. Ctrl-C ends the waiting, not the stop.
    """
    running = RunningUp.find(state)
    if running is None:
        click.echo(f"Nothing runs in {state}.")
        return
    with running.stream("down") as stream:
        waiting: list[str] = []
        for answer in stream:
            if answer["event"] == "stopping":
                waiting = answer["names"]
                click.echo(f"Stopping {running.described}: {', '.join(waiting) or 'its start'}")
            elif answer["event"] == "ended" and answer["name"] in waiting:
                waiting.remove(answer["name"])
                click.echo(f"{answer['name']} has ended")
    running.state.await_free()
    click.echo("Everything has ended.")
