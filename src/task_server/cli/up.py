"""`task-server up`: the whole system for a project, in one terminal."""

import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import click
from click.core import ParameterSource

from task_server.cli.attach import attach, await_ready
from task_server.cli.detach import DETACH_VARIABLE, descriptor_of_ready, start_detached
from task_server.cli.options import (
    PortOption,
    app_option,
    config_option,
    resolved,
    state_option,
    traceback_option,
    unknown_worker,
)
from task_server.config.model import Config
from task_server.local.control.client import RunningUp
from task_server.local.servers.state import LockedError, State
from task_server.local.up import Up, stop_terminal

#: The default; the worker `all` consumes the queues of both.
WORKERS = ("prefork", "gevent")


#: Options that matter to the start alone.
_OF_A_START = frozenset({"workers", "migrate", "flower_port", "reload"})


@click.command(
    epilog="""
\b
Examples:
  task-server up                              the project in this folder
  task-server up --app cl --migrate           on its own database, too
  task-server up --worker bulk --worker gevent
  task-server up --detach                     returns when everything is ready
  DATABASE_URL=postgresql://… task-server up  where the settings take it from there
"""
)
@app_option
@config_option
@state_option
@click.option(
    "--worker",
    "workers",
    multiple=True,
    envvar="TASK_SERVER_UP_WORKERS",
    show_envvar=True,
    help="A worker to start; repeatable.  [default: prefork and gevent]",
)
@click.option(
    "--migrate/--no-migrate",
    default=None,
    envvar="TASK_SERVER_MIGRATE",
    show_envvar=True,
    help="Run the migrations first, on all databases in the project's settings; or on none.  "
    "[default: on those started here]",
)
@click.option(
    "--flower-port",
    cls=PortOption,
    type=click.IntRange(0, 65535),
    envvar="TASK_SERVER_FLOWER_PORT",
    show_envvar=True,
    help="TCP port of Flower; 0 is any free one.  [default: 5555]",
)
@click.option(
    "--reload/--no-reload",
    default=True,
    envvar="TASK_SERVER_RELOAD",
    show_envvar=True,
    help="Restart the workers when the project's code changes; tasks that run end first.",
)
@click.option(
    "--detach",
    is_flag=True,
    envvar=DETACH_VARIABLE,
    show_envvar=True,
    help="Return when everything is ready, and go on without this terminal.",
)
@traceback_option
@click.pass_context
def command(
    context: click.Context,
    app: str | None,
    path: Path | None,
    state: Path,
    workers: tuple[str, ...],
    *,
    migrate: bool | None,
    flower_port: int | None,
    reload: bool,
    detach: bool,
    show_traceback: bool,
) -> None:
    """
    Start the workers and Flower, with the servers they need, and print their output.

    The servers that the project's settings name are used, and must answer. A Redis or
    PostgreSQL is started where the settings read REDIS_URL, CELERY_BROKER_URL or
    DATABASE_URL and the variable is not set, or where they name no broker. Ctrl-C
    stops the workers, then the servers. Where it runs already, its output is shown from
    now on, and Ctrl-C leaves it running.
    """
    config = resolved(path, app=app, flower_port=flower_port).config
    names = workers or WORKERS
    unknown = [name for name in names if name not in config.workers]
    if unknown:
        raise click.BadParameter(unknown_worker(config, unknown[0]), param_hint="--worker")
    folder = State.open(state)
    ready = descriptor_of_ready(os.environ)
    if detach and folder.lock_holder() is None:
        sys.exit(start_detached(_arguments(context)))
    up = Up(
        config=config,
        state=folder,
        workers=names,
        migrate=migrate,
        reload=reload,
        show_traceback=show_traceback,
        environ=os.environ,
        on_ready=None if ready is None else partial(_is_ready, ready),
    )
    try:
        with folder.lock({"app": config.app, "command": "up"}) as lock:
            code = up.run(lock)
    except LockedError:
        code = _join(RunningUp.get(folder.path), config, context, wait=detach or ready is not None)
    sys.exit(code)


def _join(running: RunningUp, config: Config, context: click.Context, *, wait: bool) -> int:
    """Show the `up` that is *running*, or only *wait* until it is ready; return the exit code."""
    running.require_app(config.app)
    ignored = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in _OF_A_START
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if ignored:
        click.echo(
            f"{', '.join(ignored)}: without effect, for {running.described} runs already; "
            "`task-server down` ends it",
            err=True,
        )
    return await_ready(running) if wait else attach(running)


def _is_ready(descriptor: int) -> None:
    """Leave the terminal, and tell the command that waits in it."""
    stop_terminal()
    # It may have been killed meanwhile.
    with suppress(BrokenPipeError):
        os.write(descriptor, b"ready")
    os.close(descriptor)


def _arguments(context: click.Context) -> list[str]:
    """Return the command line of *context* as it was given, without --detach."""
    arguments = []
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not given or name == "detach":
            continue
        value = context.params[name]
        options = parameter.opts
        if isinstance(value, bool):
            options = options if value else parameter.secondary_opts
            arguments.append(options[0])
        else:
            for one in value if isinstance(value, tuple) else (value,):
                arguments.extend([options[0], str(one)])
    return arguments
