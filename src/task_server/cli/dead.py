"""`task-server dead`: list, retry and delete dead letters."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from task_server.cli.broker import broker
from task_server.cli.completions import complete_queues
from task_server.cli.dead_shown import described, lines, shown
from task_server.cli.options import app_option, config_option, json_option
from task_server.errors import TaskServerError
from task_server.transport.store import dead_letters
from task_server.transport.store.dead_letters import DeadLetter

#: Names that an error lists.
MAX_NAMES = 20

all_option = click.option(
    "--all",
    "all_",
    is_flag=True,
    envvar="TASK_SERVER_DEAD_ALL",
    show_envvar=True,
    help="All dead letters.",
)

queue_option = click.option(
    "--queue",
    envvar="TASK_SERVER_DEAD_QUEUE",
    show_envvar=True,
    shell_complete=complete_queues,
    help="Only dead letters of this queue.",
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
    it from there.
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
@queue_option
@json_option
def list_(app: str | None, path: Path | None, queue: str | None, *, as_json: bool) -> None:
    """List the dead letters, oldest first."""
    with broker(app, path) as (client, keys):
        store = Store(client, keys.dead_letters)
        found = store.of(queue)
    _print(found, as_json=as_json)


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
    with broker(app, path) as (client, keys):
        store = Store(client, keys.dead_letters)
        found = _named(store.of(None), ids)
    _print(found, as_json=as_json, whole=True)


def _print(found: list[DeadLetter], *, as_json: bool, whole: bool = False) -> None:
    if as_json:
        click.echo(json.dumps([described(letter) for letter in found]))
        return
    for letter in found:
        # Not wrapped into columns: identifiers are copied.
        click.echo("\n".join(lines(letter, None) if whole else lines(letter)))
    if not found:
        click.echo("no dead letters")


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
@queue_option
@all_option
def retry(
    ids: tuple[str, ...], app: str | None, path: Path | None, queue: str | None, *, all_: bool
) -> None:
    """Requeue tasks and reset their crash counts; ID is the task's."""
    _apply(
        app, path, ids, queue=queue, all_=all_, step=dead_letters.retry, done="back in the queue"
    )


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
@queue_option
@all_option
def drop(
    ids: tuple[str, ...], app: str | None, path: Path | None, queue: str | None, *, all_: bool
) -> None:
    """Delete dead letters for good; ID is the task's."""
    _apply(app, path, ids, queue=queue, all_=all_, step=dead_letters.drop, done="dropped")


@dataclass(frozen=True)
class Store:
    """The hash of dead letters in Redis."""

    client: Any
    key: str

    def of(self, queue: str | None) -> list[DeadLetter]:
        """Return the dead letters of *queue*; None means all queues."""
        found = dead_letters.all_of(self.client, self.key)
        return [letter for letter in found if queue in (None, letter.queue)]


def _apply(
    app: str | None,
    path: Path | None,
    ids: tuple[str, ...],
    *,
    queue: str | None,
    all_: bool,
    step: Callable[[Any, str, Iterable[DeadLetter]], int],
    done: str,
) -> None:
    if bool(ids) == all_:
        raise click.UsageError("Give the IDs of tasks, or --all.")
    with broker(app, path) as (client, keys):
        store = Store(client, keys.dead_letters)
        found = store.of(queue)
        if ids:
            found = _named(found, ids)
        broken = [letter for letter in found if step is dead_letters.retry and not letter.is_whole]
        count = step(store.client, store.key, [letter for letter in found if letter not in broken])
    click.echo(f"{count} {'task' if count == 1 else 'tasks'} {done}")
    if broken:
        names = ", ".join(shown(letter.id or letter.tag) for letter in broken[:MAX_NAMES])
        raise TaskServerError(
            f"{len(broken)} cannot be retried, since their records contain no message: "
            f"{names}; drop them."
        )


def _named(found: list[DeadLetter], ids: tuple[str, ...]) -> list[DeadLetter]:
    """
    Return those of *found* whose task id or delivery tag is in *ids*.

    Raises:
        TaskServerError: With the unknown ids.
    """
    known = {name for letter in found for name in (letter.id, letter.tag)}
    unknown = [name for name in ids if name not in known]
    if unknown:
        raise TaskServerError(f"No dead letter {', '.join(unknown)}; see `task-server dead list`.")
    return [letter for letter in found if letter.id in ids or letter.tag in ids]
