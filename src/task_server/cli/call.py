"""`task-server call TASK`: send one task, and wait for its result if wanted."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from task_server.cli import call_refusals
from task_server.cli.call_result import jsonable, show, wait_for
from task_server.cli.call_words import arguments_of, expiry_of, moment_of
from task_server.cli.completions import complete_queues, complete_tasks
from task_server.cli.joined import use_up
from task_server.cli.options import Seconds, app_option, config_option, resolved, traceback_option
from task_server.errors import PeerError, TaskServerError
from task_server.project.load import calling_app

#: How long workers that run are asked for what the project does not have, in seconds.
ASK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Call:
    """A task, and what it is called with."""

    task: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]


@click.command(
    epilog="""
\b
Examples:
  task-server call docket.tasks.read 7 --wait          7 is a number
  task-server call docket.tasks.fetch https://… retries=3 'tags=["a", "b"]'
  task-server call add --wait --json -- -5 3           after -- nothing is an option
  task-server call report --countdown 60 --queue batch1
"""
)
@click.argument("task", shell_complete=complete_tasks)
@click.argument("words", nargs=-1, metavar="[ARG|NAME=VALUE]...")
@app_option
@config_option
@click.option(
    "--kwargs",
    envvar="TASK_SERVER_CALL_KWARGS",
    show_envvar=True,
    metavar="JSON",
    help="Keyword arguments, as one JSON object.",
)
@click.option(
    "--queue",
    envvar="TASK_SERVER_CALL_QUEUE",
    show_envvar=True,
    shell_complete=complete_queues,
    help="Queue.  [default: as routed]",
)
@click.option(
    "--countdown",
    envvar="TASK_SERVER_CALL_COUNTDOWN",
    show_envvar=True,
    type=Seconds(0),
    metavar="SECONDS",
    help="Run it after so long.",
)
@click.option(
    "--eta",
    envvar="TASK_SERVER_CALL_ETA",
    show_envvar=True,
    metavar="TIME",
    help="Run it then (ISO 8601; else in the app's time zone).",
)
@click.option(
    "--priority",
    envvar="TASK_SERVER_CALL_PRIORITY",
    show_envvar=True,
    type=click.IntRange(0, 255),
    help="Priority of the message.",
)
@click.option(
    "--expires",
    envvar="TASK_SERVER_CALL_EXPIRES",
    show_envvar=True,
    metavar="SECONDS|TIME",
    help="Do not run it after that.",
)
@click.option(
    "--wait",
    is_flag=True,
    envvar="TASK_SERVER_CALL_WAIT",
    show_envvar=True,
    help="Wait, and print the result or the traceback.",
)
@click.option(
    "--timeout",
    envvar="TASK_SERVER_CALL_TIMEOUT",
    show_envvar=True,
    type=Seconds(0.01),
    metavar="SECONDS",
    help="Wait no longer than this.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="TASK_SERVER_JSON",
    show_envvar=True,
    help="One JSON object on standard output.",
)
@click.option(
    "--ask",
    envvar="TASK_SERVER_CALL_ASK",
    show_envvar=True,
    type=Seconds(0, 600),
    metavar="SECONDS",
    default=ASK_SECONDS,
    help="Ask running workers so long for a task or a queue that is not the project's own; 0: "
    f"do not.  [default: {ASK_SECONDS:g}]",
)
@click.option(
    "--force",
    is_flag=True,
    envvar="TASK_SERVER_CALL_FORCE",
    show_envvar=True,
    help="Send a task that nobody registers, or to a queue of no worker.",
)
@traceback_option
def command(
    task: str,
    words: tuple[str, ...],
    app: str | None,
    path: Path | None,
    *,
    kwargs: str | None,
    queue: str | None,
    countdown: float | None,
    eta: str | None,
    priority: int | None,
    expires: str | None,
    wait: bool,
    timeout: float | None,
    as_json: bool,
    ask: float,
    force: bool,
    show_traceback: bool,
) -> None:
    """
    Send TASK with the project's own app: its routes, its serializer.

    An ARG that is JSON is that value (7, true, null, "7", [1, 2]), any other is text;
    NAME=VALUE is a keyword argument. Arguments that begin with - come after --. A task that
    neither the project nor a running worker registers is refused, with the near names.

    With --wait the exit code is 0 if the task succeeded, 1 if it failed or was revoked,
    124 if --timeout passed. Ctrl-C leaves the task as it is.
    """
    del show_traceback  # Its variable is read where the project is imported.
    try:
        arguments, named = arguments_of(words, kwargs)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
    if countdown is not None and eta is not None:
        raise click.UsageError("Give --countdown or --eta.")
    config = resolved(path, app=app).config
    use_up(os.environ)
    project = calling_app(config)
    if not force:
        call_refusals.need_task(project, task, ask)
    call = Call(task, tuple(arguments), named)
    goes_to = call_refusals.queue_of(project, task, call.arguments, named, queue)
    if not force:
        call_refusals.need_taker(project, config, goes_to, ask)
    options = {
        "countdown": countdown,
        "priority": priority,
        "queue": queue,
        **_times(project, eta, expires),
    }
    wait = wait or timeout is not None
    if wait:
        call_refusals.need_results(project)
        # A task that stores no result stores this one.
        options["ignore_result"] = False
    given = {name: value for name, value in options.items() if value is not None}
    result = _send(project, call, given)
    sent = {"id": result.id, "task": task, "queue": goes_to}
    if wait:
        raise SystemExit(_wait(result, timeout, sent, as_json=as_json))
    click.echo(json.dumps(sent) if as_json else _announcement(sent))


def _announcement(sent: dict[str, Any]) -> str:
    return f"{sent['id']} -> {sent['queue']}"


def _times(project: Any, eta: str | None, expires: str | None) -> dict[str, Any]:
    try:
        return {
            "eta": moment_of(eta, project.timezone) if eta else None,
            "expires": expiry_of(expires, project.timezone) if expires else None,
        }
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None


def _wait(result: Any, timeout: float | None, sent: dict[str, Any], *, as_json: bool) -> int:
    """Wait for *result* and print it; return the exit code."""
    outcome = wait_for(
        result,
        timeout,
        described=f"{sent['task']} ({sent['id']})",
        announced="" if as_json else _announcement(sent),
    )
    if isinstance(outcome, int):
        if as_json:
            click.echo(json.dumps(sent))
        return outcome
    if as_json:
        found = jsonable(outcome.result)
        ended = {"state": outcome.state, "result": found, "traceback": outcome.traceback}
        click.echo(json.dumps({**sent, **ended}))
    else:
        show(outcome)
    return outcome.exit_code


def _send(project: Any, call: Call, options: dict[str, Any]) -> Any:
    """Send the task; return its result to come."""
    from kombu.exceptions import EncodeError  # noqa: PLC0415 - imports Celery
    from kombu.exceptions import OperationalError as KombusError  # noqa: PLC0415

    found = project.tasks.get(call.task)
    try:
        if found is None:
            return project.send_task(call.task, call.arguments, call.named, **options)
        return found.apply_async(call.arguments, call.named, **options)
    except EncodeError as error:
        raise TaskServerError(f"the arguments cannot be sent: {error}") from error
    except TypeError as error:
        raise click.UsageError(f"{call.task}: {error}.") from error
    except (KombusError, OSError) as error:
        raise PeerError(f"the task was not sent: the broker cannot be used ({error})") from error
