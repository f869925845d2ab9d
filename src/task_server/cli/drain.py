"""`task-server drain NODE`."""

from pathlib import Path

import click

from task_server.cli.acting import by_option, force_option, who
from task_server.cli.broker import broker
from task_server.cli.dead_shown import shown
from task_server.cli.options import app_option, config_option


@click.command(
    epilog="""
\b
Examples:
  task-server drain gevent@worker-3
  task-server drain 'gevent@*'           every node of that worker that is there now
  task-server status gevent@worker-3     what it still runs
  task-server resume gevent@worker-3
"""
)
@click.argument("node")
@app_option
@config_option
@by_option
@force_option
def command(node: str, app: str | None, path: Path | None, by: str | None, *, force: bool) -> None:
    """
    Let NODE, or the nodes that match it, take nothing until `task-server resume NODE`.

    The process stays, since supervisors restart what ends; it finishes what it runs, and hands
    back what it has not started. It stays live, and is not ready. The drain binds the name of
    the node: a process that is started again under it takes nothing either.
    """
    from task_server.actions import drain  # noqa: PLC0415 - imports redis

    with broker(app, path) as (client, keys):
        done = drain(client, keys, node, who(by), force=force)
    for name in done.names:
        click.echo(f"{shown(name)} takes nothing until `task-server resume {shown(name)}`")
    if done.unbound:
        click.echo(f"these do not obey: {', '.join(map(shown, done.unbound))}", err=True)
