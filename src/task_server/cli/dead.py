"""`task-server dead`: tasks that were put aside, since the workers that ran them died, say."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from task_server.cli.dead_shown import described, lines, shown
from task_server.cli.options import app_option, config_option, resolved
from task_server.config.model import Config
from task_server.errors import ConfigError, PeerError, Problem, TaskServerError
from task_server.peers.redis import address, explain_redis_error
from task_server.project.load import imported
from task_server.transport.store import dead_letters
from task_server.transport.store.dead_letters import DeadLetter
from task_server.transport.store.keys import Keys

#: Names in one line that are shown.
MOST_NAMES = 20

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="TASK_SERVER_JSON",
    show_envvar=True,
    help="One JSON array with all that is known instead of lines.",
)

all_option = click.option(
    "--all",
    "every",
    is_flag=True,
    envvar="TASK_SERVER_DEAD_ALL",
    show_envvar=True,
    help="All of them.",
)

queue_option = click.option(
    "--queue",
    envvar="TASK_SERVER_DEAD_QUEUE",
    show_envvar=True,
    help="Only those of this queue.",
)


@click.group(
    epilog="""
\b
Examples:
  task-server dead list                          what was put aside, and how it died
  task-server dead list --json | jq -r '.[].id'
  task-server dead show 7c1e8a52-…               one whole, with its headers
  task-server dead retry 7c1e8a52-…              put it back to its queue
  task-server dead drop --all --queue io_bound
"""
)
def command() -> None:
    """
    Look at the tasks that were put aside, and run them again or drop them.

    A worker with the atomic transport puts a task aside when `poison_limit`
    workers, or children of the pool, died of it, and when no code of the worker
    registers it; then a worker that does takes it by itself.
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
    """List the tasks that were put aside, the first one first."""
    with _store(app, path) as store:
        found = store.of(queue)
    _say(found, as_json=as_json)


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
    """Show tasks that were put aside whole, with their headers; ID is the task's."""
    with _store(app, path) as store:
        found = _named(store.of(None), ids)
    _say(found, as_json=as_json, whole=True)


def _say(found: list[DeadLetter], *, as_json: bool, whole: bool = False) -> None:
    if as_json:
        click.echo(json.dumps([described(one) for one in found]))
        return
    for one in found:
        # Not folded into columns: an identifier is to be copied.
        click.echo("\n".join(lines(one, None) if whole else lines(one)))
    if not found:
        click.echo("no task was put aside")


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
    ids: tuple[str, ...], app: str | None, path: Path | None, queue: str | None, *, every: bool
) -> None:
    """Put tasks back to their queues, with no death counted; ID is the task's."""
    _each(
        app, path, ids, queue=queue, every=every, step=dead_letters.retry, done="back in the queue"
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
    ids: tuple[str, ...], app: str | None, path: Path | None, queue: str | None, *, every: bool
) -> None:
    """Forget tasks for good; ID is the task's."""
    _each(app, path, ids, queue=queue, every=every, step=dead_letters.drop, done="dropped")


@dataclass(frozen=True)
class Store:
    """Where the dead messages are."""

    client: Any
    key: str

    def of(self, queue: str | None) -> list[DeadLetter]:
        """Return those of *queue*; None is any."""
        found = dead_letters.all_of(self.client, self.key)
        return [one for one in found if queue in (None, one.queue)]


def _each(
    app: str | None,
    path: Path | None,
    ids: tuple[str, ...],
    *,
    queue: str | None,
    every: bool,
    step: Callable[[Any, str, Iterable[DeadLetter]], int],
    done: str,
) -> None:
    if bool(ids) == every:
        raise click.UsageError("Name tasks by their IDs, or give --all.")
    with _store(app, path) as store:
        found = store.of(queue)
        if ids:
            found = _named(found, ids)
        broken = [one for one in found if step is dead_letters.retry and not one.is_whole]
        count = step(store.client, store.key, [one for one in found if one not in broken])
    click.echo(f"{count} {'task' if count == 1 else 'tasks'} {done}")
    if broken:
        names = ", ".join(shown(one.id or one.tag) for one in broken[:MOST_NAMES])
        raise TaskServerError(
            f"{len(broken)} cannot be delivered again, since their records have no message: "
            f"{names}; drop them."
        )


def _named(found: list[DeadLetter], ids: tuple[str, ...]) -> list[DeadLetter]:
    """
    Return those of *found* with one of *ids*, of tasks or of deliveries.

    Raises:
        TaskServerError: With the ids that are unknown.
    """
    known = {name for one in found for name in (one.id, one.tag)}
    unknown = [name for name in ids if name not in known]
    if unknown:
        raise TaskServerError(
            f"No task {', '.join(unknown)} was put aside; see `task-server dead list`."
        )
    return [one for one in found if one.id in ids or one.tag in ids]


@contextmanager
def _store(app: str | None, path: Path | None) -> Iterator[Store]:
    """Reach the broker as the project's workers do."""
    from redis import Redis, exceptions  # noqa: PLC0415 - heavy, as what follows

    project = _project(resolved(path, app=app).config)
    given = project.conf.broker_write_url or ""
    url = ";".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
    try:
        connection = project.connection_for_write()
        # Not `connection.connect()`, which tries again for seconds.
        channel = connection.transport.create_channel(connection.transport)
    except ValueError as error:
        # Of a URL whose parts are none; its message may have the password in it.
        message = f"{address(url)} is not what a client of Redis takes (host, port, database)"
        raise ConfigError([Problem("broker_url", message)]) from error
    except (exceptions.RedisError, OSError) as error:
        raise _trouble(url, error) from error
    with connection:
        if not hasattr(channel, "unacked_key"):
            raise TaskServerError(f"The broker {connection.as_uri()} is not a Redis.")
        try:
            # The keys are complete; the channel's own client prefixes some commands.
            yield Store(
                Redis(connection_pool=channel.pool),
                Keys.of(channel).dead_letters,
            )
        except (exceptions.RedisError, OSError) as error:
            raise _trouble(url, error) from error


def _trouble(url: str, error: Exception) -> TaskServerError:
    """Return the error for what a client of the Redis at *url* raised."""
    found = explain_redis_error("broker_url", url, error)
    if found.peer:
        return PeerError(found.text)
    return ConfigError([Problem(found.setting, found.text)])


def _project(config: Config) -> Any:
    """Import the project as a worker does, in this process's environment."""
    from task_server.project import celery_app as project  # noqa: PLC0415 - imports Celery
    from task_server.project.defaults import connection_defaults  # noqa: PLC0415

    with imported(config) as app:
        project.apply(app, connection_defaults(app.conf.result_backend))
        return app
