"""`task-server purge QUEUE`."""

from pathlib import Path
from typing import Any

import click

from task_server.cli.acting import ask, broker_and_queues, by_option, force_option, who, yes_option
from task_server.cli.dead_shown import shown
from task_server.cli.options import Span, app_option, config_option


@click.command(
    epilog="""
\b
Examples:
  task-server purge io_bound                                  asks, and says the number first
  task-server purge io_bound --task mail.remind --older-than 1h
  task-server purge io_bound --yes                            for scripts
"""
)
@click.argument("queue")
@app_option
@config_option
@click.option(
    "--task",
    envvar="TASK_SERVER_PURGE_TASK",
    show_envvar=True,
    help="Only messages of the task of this name, such as mail.remind.",
)
@click.option(
    "--older-than",
    type=Span(),
    envvar="TASK_SERVER_PURGE_OLDER_THAN",
    show_envvar=True,
    help="Only messages that were sent so long ago: 90, 90s, 15m, 1h or 2d. One that does not "
    "say when it was sent stays, but for a delayed task, whose delay counts then.",
)
@yes_option
@by_option
@force_option
def command(
    queue: str,
    app: str | None,
    path: Path | None,
    *,
    task: str | None,
    older_than: float | None,
    yes: bool,
    by: str | None,
    force: bool,
) -> None:
    """
    Delete what waits in QUEUE, of all priorities, and its delayed tasks, for good.

    What workers have, and what arrives meanwhile, stays. The results of what is deleted stay
    PENDING, and a chord with such a task never ends.
    """
    from task_server.actions import count, purge  # noqa: PLC0415 - imports redis
    from task_server.actions.names import check_queue  # noqa: PLC0415

    chosen: dict[str, Any] = {"task": task, "older_than": older_than}
    with broker_and_queues(app, path) as (client, keys, known):
        if not force:
            check_queue(client, keys, queue, known)
        if not yes:
            found = count(client, keys, queue, **chosen)
            _say_ageless(found)
            if not found.total:
                click.echo(f"{shown(queue)} has no such messages")
                return
            ask(f"Delete {found} of {shown(queue)} for good?", "Nothing is deleted")
        done = purge(client, keys, queue, who(by), **chosen)
    if yes:
        _say_ageless(done)
    click.echo(f"deleted of {shown(queue)}: {done}")


def _say_ageless(found: Any) -> None:
    if found.ageless:
        click.echo(f"{found.ageless} do not say when they were sent, and stay", err=True)
