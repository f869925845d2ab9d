"""`task-server migrations wait`: until the databases have what this version of the code needs."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from task_server.cli.joined import use_up
from task_server.cli.options import Seconds, app_option, config_option, resolved, traceback_option
from task_server.project.import_errors import TRACEBACK_VARIABLE


@click.group(
    epilog="""
\b
Examples:
  task-server migrations wait                  until all migrations are applied
  task-server migrations wait --timeout 60     exit 1 if they are not within a minute
"""
)
def command() -> None:
    """Wait for the project's migrations, which somebody else applies."""


@command.command()
@app_option
@config_option
@click.option(
    "--timeout",
    type=Seconds(0),
    default=600,
    envvar="TASK_SERVER_MIGRATIONS_TIMEOUT",
    show_envvar=True,
    help="Seconds to wait at most; 0 looks once.",
)
@click.option(
    "--database",
    "wanted",
    multiple=True,
    metavar="ALIAS",
    envvar="TASK_SERVER_MIGRATIONS_DATABASE",
    show_envvar=True,
    help="Look at this one of DATABASES; may be repeated.  [default: `default`, and with routers "
    "each in which they allow a model]",
)
@traceback_option
def wait(
    app: str | None,
    path: Path | None,
    timeout: float,
    wanted: tuple[str, ...],
    *,
    show_traceback: bool,
) -> None:
    """
    Wait until all migrations of the project's code are applied; then exit 0.

    For what starts before the workers of a new version, such as an init container of their
    pods, while `task-server manage migrate` runs elsewhere. Exit 1: some were not applied in
    time; 69: a database did not answer in time; 78: waiting does not help. A project without
    a database has nothing to wait for.
    """
    # As PID 1 of a container it would ignore what has no handler.
    signal.signal(signal.SIGTERM, _stop)
    if show_traceback:
        os.environ[TRACEBACK_VARIABLE] = "1"
    use_up(os.environ)
    config = resolved(path, app=app).config
    from task_server.project import migrations  # noqa: PLC0415 - not for --help
    from task_server.project.load import imported  # noqa: PLC0415

    with imported(config):
        uses_django = migrations.set_up()
        aliases = migrations.databases(wanted) if uses_django else ()
    if not aliases:
        click.echo("the project has no database: no migrations to wait for")
        return
    migrations.wait(aliases, timeout, lambda line: click.echo(line, err=True))
    click.echo(f"all migrations are applied ({', '.join(aliases)})")


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's shape
    sys.exit(128 + number)
