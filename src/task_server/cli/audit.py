"""`task-server audit`: who did what by hand."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from task_server.cli.broker import broker
from task_server.cli.options import app_option, config_option, json_option


@click.command(
    epilog="""
\b
Examples:
  task-server audit
  task-server audit --limit 1000 --json | jq '.[] | select(.action == "purge")'
"""
)
@app_option
@config_option
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=50,
    envvar="TASK_SERVER_AUDIT_LIMIT",
    show_envvar=True,
    help="Actions that are listed at most, the newest.",
)
@json_option
def command(app: str | None, path: Path | None, limit: int, *, as_json: bool) -> None:
    """
    List who paused, resumed, drained, requeued or purged what, and when, the newest first.

    Redis keeps the last thousand actions, of the command line and of the Django admin.
    """
    from task_server.actions import audit  # noqa: PLC0415 - imports redis

    with broker(app, path) as (client, keys):
        found = audit.entries(client, keys, limit)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
        return
    for one in found:
        click.echo(str(one))
    if not found:
        click.echo("nothing was done by hand")
