"""`task-server failed`: list, show, retry and drop tasks that failed."""

from pathlib import Path
from typing import Any

import click

from task_server.cli import failures
from task_server.cli.failed_options import chosen, filters
from task_server.cli.options import app_option, config_option, json_option

crashed_option = click.option(
    "--crashed",
    is_flag=True,
    envvar="TASK_SERVER_FAILED_CRASHED",
    show_envvar=True,
    help="Only dead letters: those that crashed their workers, or are not registered.",
)

all_option = click.option(
    "--all",
    "all_",
    is_flag=True,
    envvar="TASK_SERVER_FAILED_ALL",
    show_envvar=True,
    help="All of them.",
)

yes_option = click.option(
    "--yes",
    is_flag=True,
    envvar="TASK_SERVER_FAILED_YES",
    show_envvar=True,
    help="Do not ask.",
)

expired_option = click.option(
    "--expired",
    is_flag=True,
    envvar="TASK_SERVER_FAILED_EXPIRED",
    show_envvar=True,
    help="Those too whose `expires` is over, and without it: a worker would discard them.",
)

limit_option = click.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    envvar="TASK_SERVER_FAILED_LIMIT",
    show_envvar=True,
    help="Tasks that are listed at most, the last ones.",
)


@click.group(
    epilog="""
\b
Examples:
  task-server failed list                               the last hundred, each with its error
  task-server failed list --task 'mail.*' --since 2h
  task-server failed show 7c1e8a52-…                    one in full, with its traceback
  task-server failed retry --error ConnectionError      after a question with their number
  task-server failed drop --older-than 604800 --yes
"""
)
def command() -> None:
    """
    List, show, retry or drop tasks that failed.

    Workers with the atomic transport keep each task whose retries ran out, or that failed
    without any, within the bounds of the table `failures` of task-server.toml; and dead
    letters, which crashed their workers or are not registered (`task-server dead`). An error
    that a task declares with `throws` is expected, and not kept.
    """


@command.command(
    "list",
    epilog="""
\b
Examples:
  task-server failed list --queue io_bound
  task-server failed list --error 'requests.*' --since 2026-11-27T09:30
  task-server failed list --argument customer-17 --json | jq -r '.[].id'
""",
)
@app_option
@config_option
@filters("FAILED")
@crashed_option
@limit_option
@json_option
def list_(
    app: str | None, path: Path | None, limit: int, *, crashed: bool, as_json: bool, **given: Any
) -> None:
    """List failed tasks, the last one at the end."""
    failures.show_list(app, path, chosen(crashed=crashed, **given), limit=limit, as_json=as_json)


@command.command(
    epilog="""
\b
Examples:
  task-server failed show 7c1e8a52-40a5-4a3a-8b9c-0f5f2e6c9d11
  task-server failed show 7c1e8a52-40a5-4a3a-8b9c-0f5f2e6c9d11 --json | jq -r '.[0].traceback'
"""
)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@app_option
@config_option
@crashed_option
@json_option
def show(
    ids: tuple[str, ...], app: str | None, path: Path | None, *, crashed: bool, as_json: bool
) -> None:
    """Show failed tasks in full, with traceback and headers; ID is the task's."""
    failures.show_whole(app, path, ids, crashed=crashed, as_json=as_json)


@command.command(
    epilog="""
\b
Examples:
  task-server failed retry 7c1e8a52-40a5-4a3a-8b9c-0f5f2e6c9d11
  task-server failed retry --task mail.send --since 2h
  task-server failed retry --all --yes
"""
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@app_option
@config_option
@filters("FAILED")
@crashed_option
@all_option
@expired_option
@yes_option
def retry(
    ids: tuple[str, ...],
    app: str | None,
    path: Path | None,
    *,
    crashed: bool,
    all_: bool,
    expired: bool,
    yes: bool,
    **given: Any,
) -> None:
    """
    Send the messages of failed tasks again, as they were; ID is the task's.

    Each keeps its id, its chain and its errbacks, and its number of retries: it is tried
    once more. Without an ID, all that every option applies to.
    """
    meant = failures.Meant(ids, chosen(crashed=crashed, **given), all_=all_, asks=not yes)
    failures.retry(app, path, meant, expired=expired)


@command.command(
    epilog="""
\b
Examples:
  task-server failed drop 7c1e8a52-40a5-4a3a-8b9c-0f5f2e6c9d11
  task-server failed drop --task mail.send --error SMTPRecipientsRefused
  task-server failed drop --older-than 604800 --yes
"""
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@app_option
@config_option
@filters("FAILED")
@crashed_option
@all_option
@yes_option
def drop(
    ids: tuple[str, ...],
    app: str | None,
    path: Path | None,
    *,
    crashed: bool,
    all_: bool,
    yes: bool,
    **given: Any,
) -> None:
    """
    Forget failed tasks for good; ID is the task's.

    Without an ID, all that every option applies to. Their results stay as they are.
    """
    failures.drop(
        app, path, failures.Meant(ids, chosen(crashed=crashed, **given), all_=all_, asks=not yes)
    )
