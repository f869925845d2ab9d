"""`task-server resume QUEUE|NODE`."""

from pathlib import Path

import click

from task_server.cli.acting import by_option, who
from task_server.cli.broker import broker
from task_server.cli.dead_shown import shown
from task_server.cli.options import app_option, config_option


@click.command(
    epilog="""
\b
Examples:
  task-server resume io_bound
  task-server resume gevent@worker-3
  task-server resume 'gevent@*'
"""
)
@click.argument("name", metavar="QUEUE|NODE")
@app_option
@config_option
@by_option
def command(name: str, app: str | None, path: Path | None, by: str | None) -> None:
    """End the pause of a queue, or the drain of a node, or of all that match a pattern."""
    from task_server.actions import resume, resume_node  # noqa: PLC0415 - imports redis
    from task_server.actions.names import RefusedError, near, stopped  # noqa: PLC0415

    with broker(app, path) as (client, keys):
        paused, drained = stopped(client, keys)
        done = [
            f"{shown(one)} takes messages again"
            for one in resume_node(client, keys, name, who(by)).names
        ]
        if resume(client, keys, name, who(by)).changed:
            done.append(f"{shown(name)} gives messages again")
    if not done:
        raise RefusedError(
            f"{name!r} is neither paused nor drained{near(name, [*paused, *drained])}"
        )
    click.echo("\n".join(done))
