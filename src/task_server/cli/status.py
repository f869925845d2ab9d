"""`task-server status`: queues, workers and what is wrong, in one screen, from Redis alone."""

import gc
import json
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from task_server.cli.joined import use_up
from task_server.cli.options import Seconds, app_option, config_option, json_option, resolved
from task_server.config.model import Config
from task_server.config.values import ALL_QUEUES
from task_server.config.variables import suggestion
from task_server.project.load import connecting_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from task_server.monitor import Snapshot
    from task_server.monitor.troubles import Trouble

    #: What was found of what was asked for, and what is wrong with it.
    Look = tuple[Snapshot, Sequence[Trouble]]

#: Seconds for an answer of Redis: somebody waits for it.
TIMEOUT = 1.0

#: Seconds between two looks of --watch.
REFRESH = 2.0


@click.command(
    epilog="""
\b
Examples:
  task-server status                    everything, worst first
  task-server status io_bound           one queue, with its workers
  task-server status prefork@worker-3   one worker, with each task that it has
  task-server status --watch
  task-server status --json | jq '.queues[] | {name, length}'
"""
)
@click.argument("name", metavar="[QUEUE|WORKER]", required=False)
@app_option
@config_option
@click.option(
    "--watch",
    is_flag=True,
    envvar="TASK_SERVER_STATUS_WATCH",
    show_envvar=True,
    help="Look every two seconds, until Ctrl-C.",
)
@click.option(
    "--max-age",
    type=Seconds(0),
    default=None,
    envvar="TASK_SERVER_STATUS_MAX_AGE",
    show_envvar=True,
    help="Seconds for which a message may wait; unset, by what is usual for its queue.",
)
@click.option(
    "--max-runtime",
    type=Seconds(0),
    default=None,
    envvar="TASK_SERVER_STATUS_MAX_RUNTIME",
    show_envvar=True,
    help="Seconds for which a task may run; unset, by what is usual for it.",
)
@json_option
def command(
    name: str | None,
    app: str | None,
    path: Path | None,
    max_age: float | None,
    max_runtime: float | None,
    *,
    watch: bool,
    as_json: bool,
) -> None:
    """
    Show queues, workers and what is wrong, with what to do; exit 1 if anything is.

    No worker has to answer: all of it is read from Redis, which is not written to but for
    since when the next message of each queue is the next.
    """
    if not watch:
        click.get_current_context().with_resource(_without_collections())
    from task_server.cli import status_shown  # noqa: PLC0415 - imports rich
    from task_server.cli.broker import broker_of  # noqa: PLC0415 - imports redis
    from task_server.monitor import snapshot  # noqa: PLC0415 - imports redis
    from task_server.monitor.troubles import Limits, troubles  # noqa: PLC0415

    config = resolved(path, app=app).config
    limits = Limits(waiting=max_age, running=max_runtime)
    use_up(os.environ)
    project = connecting_app(config)
    names = queue_names(config, project)
    with broker_of(project, TIMEOUT) as (client, keys):

        def look() -> "Look":
            found = snapshot(client, keys, names)
            chosen = selected(found, name)
            return chosen, narrowed(troubles(found, limits), chosen, name)

        chosen, wrong = look()
        if watch:
            chosen, wrong = watched(chosen, wrong, look)
    if as_json:
        click.echo(json.dumps(described(chosen, wrong)))
    else:
        status_shown.show(chosen, wrong)
    raise SystemExit(1 if wrong else 0)


@contextmanager
def _without_collections() -> "Iterator[None]":
    """
    Let Python look for no garbage: an eighth of what a short command does.

    Nothing that it makes is garbage before its end.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def watched(chosen: "Snapshot", wrong: "Sequence[Trouble]", look: "Callable[[], Look]") -> "Look":
    """
    Show what each *look* finds, until Ctrl-C; return the last.

    While Redis does not answer, the last is shown, and that.
    """
    from redis.exceptions import RedisError  # noqa: PLC0415 - heavy, like the rest

    from task_server.cli import status_shown  # noqa: PLC0415 - imports rich

    silent = ""
    with suppress(KeyboardInterrupt), status_shown.live() as screen:
        while True:
            screen.update(status_shown.page(chosen, wrong, silent))
            time.sleep(REFRESH)
            try:
                chosen, wrong = look()
                silent = ""
            except (RedisError, OSError) as error:
                silent = str(error) or type(error).__name__
    return chosen, wrong


def queue_names(config: Config, project: Any) -> list[str]:
    """Return the queues that the workers of *config* name, and those that the *project* does."""
    from task_server.project.queues import declared  # noqa: PLC0415 - for this command alone

    names = [name for worker in config.workers.values() for name in worker.queues]
    try:
        names += declared(project)
    except Exception:  # noqa: BLE001 - whatever a project's own router does, the rest is shown
        click.echo("note: the queues of the project's settings cannot be listed", err=True)
    return list(dict.fromkeys(name for name in names if name != ALL_QUEUES))


def selected(found: "Snapshot", name: str | None) -> "Snapshot":
    """
    Return *found* with the queue or the worker *name* alone, and what belongs to it.

    Raises:
        BadParameter: When there is neither.
    """
    if name is None:
        return found
    queues = [one for one in found.queues if one.name == name]
    if queues:
        return replace(
            found,
            queues=tuple(queues),
            workers=tuple(one for one in found.workers if name in one.queues),
            tasks=tuple(one for one in found.tasks if one.queue == name),
        )
    workers = [one for one in found.workers if name in (one.node, one.node.partition("@")[0])]
    if not workers:
        known = [*(one.name for one in found.queues), *(one.node for one in found.workers)]
        raise click.BadParameter(
            f"no queue and no worker {name!r}{suggestion(name, known)}", param_hint="QUEUE|WORKER"
        )
    names = {queue for one in workers for queue in one.queues}
    return replace(
        found,
        queues=tuple(one for one in found.queues if one.name in names),
        workers=tuple(workers),
        tasks=tuple(one for one in found.tasks if one.queue in names),
    )


def narrowed(
    wrong: "Sequence[Trouble]", chosen: "Snapshot", name: str | None
) -> "Sequence[Trouble]":
    """Return what of *wrong* concerns what was *chosen* by its *name*, and the server."""
    if name is None:
        return wrong
    known = {"Redis", *(one.name for one in chosen.queues), *(one.node for one in chosen.workers)}
    known.update(one.task for one in chosen.tasks)
    return [one for one in wrong if one.what in known]


def described(found: "Snapshot", wrong: "Sequence[Trouble]") -> dict[str, Any]:
    """Return everything, for JSON; times are seconds since 1970."""
    values = asdict(found)
    for queue, one in zip(values["queues"], found.queues, strict=True):
        queue["length"] = one.length
    return {**values, "troubles": [asdict(one) for one in wrong], "unread": found.troubles}
