"""`task-server delayed`: list, count, release and delete delayed tasks."""

import json
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import click

from task_server.cli.broker import broker
from task_server.cli.completions import complete_queues, complete_tasks
from task_server.cli.dead_shown import shown, when
from task_server.cli.options import Seconds, app_option, config_option, json_option
from task_server.errors import TaskServerError
from task_server.producer import sent_at
from task_server.transport.store import delayed
from task_server.transport.store.delayed import Delayed

queue_argument = click.argument("queue", required=False, shell_complete=complete_queues)

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
  task-server delayed drop --task mail.remind    delete those of one task
"""
)
def command() -> None:
    """
    List, count, release or delete delayed tasks: those with an ETA or a countdown.

    Delayed tasks wait in Redis: a worker with the atomic transport moves a task that is
    due in more than `delay_seconds` out of its queue, and back when it is due. Celery's
    own workers, and `celery purge` of a project without task-server, do not see it before.
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


@command.command(
    epilog="""
\b
Examples:
  task-server delayed drop                                  all, after a question with their number
  task-server delayed drop --queue io_bound --task mail.remind
  task-server delayed drop --older-than 604800 --yes        sent more than a week ago
"""
)
@app_option
@config_option
@click.option(
    "--queue",
    envvar="TASK_SERVER_DELAYED_QUEUE",
    show_envvar=True,
    shell_complete=complete_queues,
    help="Only delayed tasks of this queue.",
)
@click.option(
    "--task",
    envvar="TASK_SERVER_DELAYED_TASK",
    show_envvar=True,
    shell_complete=complete_tasks,
    help="Only tasks of this name, such as mail.remind.",
)
@click.option(
    "--older-than",
    type=Seconds(0),
    envvar="TASK_SERVER_DELAYED_OLDER_THAN",
    show_envvar=True,
    help="Only tasks that were sent more than so many seconds ago; without a time of the "
    "producer's, that were delayed so long ago.",
)
@click.option(
    "--yes",
    is_flag=True,
    envvar="TASK_SERVER_DELAYED_YES",
    show_envvar=True,
    help="Do not ask.",
)
def drop(
    app: str | None,
    path: Path | None,
    queue: str | None,
    task: str | None,
    older_than: float | None,
    *,
    yes: bool,
) -> None:
    """
    Delete delayed tasks for good: all, or those that every option applies to.

    Their results stay PENDING, as after `celery purge`.
    """
    with broker(app, path) as (client, keys):
        now = float(client.time()[0])
        matches = _matcher(task, None if older_than is None else now - older_than)
        if task is None and older_than is None:
            count = sum(delayed.counts(client, keys, queue and [queue]).values())
        else:
            count = sum(map(matches, delayed.all_of(client, keys, queue)))
        if not count:
            click.echo("no such delayed tasks")
            return
        if not yes:
            _ask(f"Delete {_tasks(count)} for good?")
        dropped = delayed.drop_matching(client, keys, matches, queue)
    click.echo(f"{_tasks(dropped)} deleted")


def _matcher(task: str | None, before: float | None) -> Callable[[Delayed], bool]:
    """Return whether a delayed task is one of *task*, and was sent before."""

    def matches(one: Delayed) -> bool:
        return task in (None, one.task) and (before is None or _sent_at(one) < before)

    return matches


def _sent_at(one: Delayed) -> float:
    """Return when its producer sent it, else when it was delayed."""
    try:
        sent = sent_at(json.loads(one.text))
    except (ValueError, RecursionError):
        sent = None
    return one.since if sent is None else sent


def _ask(question: str) -> None:
    """
    Go on if the reader says yes.

    Raises:
        TaskServerError: When nobody can answer, or does.
    """
    try:
        sure = click.confirm(question, err=True)
    except click.Abort:
        raise TaskServerError(
            "Nothing is deleted: nobody has answered; --yes does not ask."
        ) from None
    if not sure:
        raise TaskServerError("Nothing is deleted.")


def _tasks(count: int) -> str:
    return f"{count} delayed {'task' if count == 1 else 'tasks'}"


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
