"""`task-server dead`: as `task-server failed --crashed`, without questions."""

from pathlib import Path
from typing import Any

import click

from task_server.cli import failures
from task_server.cli.failed_options import chosen, filters
from task_server.cli.options import app_option, config_option, json_option

all_option = click.option(
    "--all",
    "all_",
    is_flag=True,
    envvar="TASK_SERVER_DEAD_ALL",
    show_envvar=True,
    help="All dead letters.",
)


@click.group(
    epilog="""
\b
Examples:
  task-server dead list                          dead letters, each with its reason
  task-server dead list --json | jq -r '.[].id'
  task-server dead show 7c1e8a52-…               a message in full, with its headers
  task-server dead retry 7c1e8a52-…              requeue it
  task-server dead drop --all --queue io_bound
"""
)
def command() -> None:
    """
    List, retry or delete dead letters: tasks that crashed their workers, or are not registered.

    A worker with the atomic transport moves a task to the dead letters when
    `poison_limit` workers or pool children have crashed while running it, or when
    the worker's code does not register it. A worker that registers it later fetches
    it from there. `task-server failed` has these, and all other failed tasks.
    """


@command.command(
    "list",
    epilog="""
\b
Examples:
  task-server dead list
  task-server dead list --queue celery --json
""",
)
@app_option
@config_option
@filters("DEAD")
@json_option
def list_(app: str | None, path: Path | None, *, as_json: bool, **given: Any) -> None:
    """List the dead letters, oldest first."""
    failures.show_list(app, path, chosen(crashed=True, **given), limit=None, as_json=as_json)


@command.command(
    epilog="""
\b
Examples:
  task-server dead show 7c1e8a52-40a5-4a3a-8b9c-0f5f2e6c9d11
  task-server dead show 7c1e8a52-40a5-4a3a-8b9c-0f5f2e6c9d11 --json
"""
)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@app_option
@config_option
@json_option
def show(ids: tuple[str, ...], app: str | None, path: Path | None, *, as_json: bool) -> None:
    """Show dead letters in full, with their headers; ID is the task's."""
    failures.show_whole(app, path, ids, crashed=True, as_json=as_json)


@command.command(
    epilog="""
\b
Examples:
  task-server dead retry 7c1e8a52-40a5-4a3a-8b9c-0f5f2e6c9d11
  task-server dead retry --all
"""
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@app_option
@config_option
@filters("DEAD")
@all_option
def retry(
    ids: tuple[str, ...], app: str | None, path: Path | None, *, all_: bool, **given: Any
) -> None:
    """Requeue tasks and reset their crash counts; ID is the task's."""
    meant = failures.Meant(ids, chosen(crashed=True, **given), all_=all_, asks=False)
    failures.retry(app, path, meant, expired=False)


@command.command(
    epilog="""
\b
Examples:
  task-server dead drop 7c1e8a52-40a5-4a3a-8b9c-0f5f2e6c9d11
  task-server dead drop --all --queue celery
"""
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@app_option
@config_option
@filters("DEAD")
@all_option
def drop(
    ids: tuple[str, ...], app: str | None, path: Path | None, *, all_: bool, **given: Any
) -> None:
    """Delete dead letters for good; ID is the task's."""
    meant = failures.Meant(ids, chosen(crashed=True, **given), all_=all_, asks=False)
    failures.drop(app, path, meant)
