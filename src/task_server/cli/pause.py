"""`task-server pause QUEUE`."""

from pathlib import Path

import click

from task_server.cli.acting import broker_and_queues, by_option, force_option, who
from task_server.cli.dead_shown import shown
from task_server.cli.options import app_option, config_option


@click.command(
    epilog="""
\b
Examples:
  task-server pause io_bound
  task-server pause io_bound --by "alice: incident 42"
  task-server resume io_bound
"""
)
@click.argument("queue")
@app_option
@config_option
@by_option
@force_option
def command(queue: str, app: str | None, path: Path | None, by: str | None, *, force: bool) -> None:
    """
    Let our workers take nothing from QUEUE until `task-server resume QUEUE`.

    At once, and whatever is restarted: Redis keeps it. What runs goes on; what a worker
    has taken and not started goes back to the front of the queue within seconds. Workers of
    Celery itself, and of versions before 0.3, are not bound by it, and are named.
    """
    from task_server.actions import pause  # noqa: PLC0415 - imports redis

    with broker_and_queues(app, path) as (client, keys, known):
        done = pause(client, keys, queue, who(by), known=known, force=force)
    click.echo(f"{shown(queue)} is paused" + ("" if done.changed else ", as it was"))
    if done.unbound:
        click.echo(
            f"not bound by it, if they take from this queue: {', '.join(map(shown, done.unbound))}",
            err=True,
        )
