"""`task-server delayed`: list, count and release delayed tasks."""

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import click

from task_server.cli.broker import broker
from task_server.cli.dead import json_option
from task_server.cli.dead_shown import shown, when
from task_server.cli.options import app_option, config_option
from task_server.transport.store import delayed
from task_server.transport.store.delayed import Delayed

queue_argument = click.argument("queue", required=False)

limit_option = click.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    envvar="TASK_SERVER_DELAYED_LIMIT",
    show_envvar=True,
    help="Tasks that are listed at most.",
)


@click.group(
    epilog="""
\b
Examples:
  task-server delayed count                      how many each queue has
  task-server delayed list io_bound              the next to be due, with task and ID
  task-server delayed release                    put all back, before Celery's own workers take over
"""
)
def command() -> None:
    """
    List, count or release delayed tasks: those with an ETA or a countdown, which wait in Redis.

    A worker with the atomic transport puts a task that is due in more than
    `delay_seconds` aside, and back into its queue when it is due. Celery's own
    workers do not see them before.
    """


@command.command(
    "list",
    epilog="""
\b
Examples:
  task-server delayed list
  task-server delayed list io_bound --limit 1000 --json
""",
)
@queue_argument
@app_option
@config_option
@limit_option
@json_option
def list_(
    queue: str | None, app: str | None, path: Path | None, limit: int, *, as_json: bool
) -> None:
    """List the delayed tasks of QUEUE, or of all queues: those of each in order of due time."""
    with broker(app, path) as (client, keys):
        found = list(islice(delayed.all_of(client, keys, queue), limit))
        count = sum(delayed.counts(client, keys, queue and [queue]).values())
    if as_json:
        click.echo(json.dumps([described(one) for one in found]))
        return
    for one in found:
        click.echo(line(one))
    if count > len(found):
        click.echo(f"and {count - len(found)} more")
    if not found:
        click.echo("no delayed tasks")


@command.command(
    epilog="""
\b
Examples:
  task-server delayed count
  task-server delayed count io_bound --json | jq .io_bound
"""
)
@queue_argument
@app_option
@config_option
@json_option
def count(queue: str | None, app: str | None, path: Path | None, *, as_json: bool) -> None:
    """Count the delayed tasks of QUEUE, or of each queue that has some."""
    with broker(app, path) as (client, keys):
        found = delayed.counts(client, keys, queue and [queue])
    _print(found, as_json=as_json, nothing="no delayed tasks")


@command.command(
    epilog="""
\b
Examples:
  task-server delayed release
  task-server delayed release io_bound
"""
)
@queue_argument
@app_option
@config_option
@json_option
def release(queue: str | None, app: str | None, path: Path | None, *, as_json: bool) -> None:
    """
    Put the delayed tasks of QUEUE, or of all queues, back into their queues.

    Do so before Celery's own workers take over, and stop task-server's workers
    first, or set delay_seconds = 0: they would delay the tasks again.
    """
    with broker(app, path) as (client, keys):
        found = delayed.release(client, keys, queue)
        left = sum(delayed.counts(client, keys, queue and [queue]).values())
    _print(found, as_json=as_json, nothing="no delayed tasks")
    if left:
        click.echo(
            f"{left} are delayed again: a worker of task-server still runs; stop it, or set "
            "delay_seconds = 0, and release them again",
            err=True,
        )


def _print(found: Mapping[str, int], *, as_json: bool, nothing: str) -> None:
    if as_json:
        click.echo(json.dumps(dict(found)))
        return
    for queue, number in sorted(found.items()):
        click.echo(f"{shown(queue)}  {number}")
    if not found:
        click.echo(nothing)


def described(one: Delayed) -> dict[str, Any]:
    """Return every field of a delayed task, but its message; *due* in seconds since 1970."""
    return {"id": one.id, "task": one.task, "queue": one.queue, "due": one.due}


def line(one: Delayed) -> str:
    """Return the line of a delayed task: when, queue, task and id."""
    return f"{when(one.due)}  {shown(one.queue)}  {shown(one.task or '?')}[{shown(one.id or '?')}]"
