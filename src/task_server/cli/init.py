"""`task-server init`: a project looked at, and a task-server.toml written for it."""

import os
import shlex
from pathlib import Path

import click

from task_server.cli.options import Seconds, app_option, config_option, environ_with
from task_server.config.loader import find, resolve
from task_server.config.model import Config
from task_server.errors import ConfigError, Problem
from task_server.local.survey.difference import differences, table_of
from task_server.local.survey.document import document
from task_server.local.survey.look import look
from task_server.local.survey.report import report


@click.command(
    epilog="""
\b
Examples:
  task-server init                            the project in this folder, or in one below
  task-server init --print                    only show the file
  task-server init --app shop.celery_app --code backend
"""
)
@app_option
@click.option(
    "--code",
    envvar="TASK_SERVER_CODE",
    show_envvar=True,
    help="Folder of the project's code.  [default: this one, or the only one below with an app]",
)
@config_option
@click.option(
    "--print",
    "only_print",
    is_flag=True,
    envvar="TASK_SERVER_INIT_PRINT",
    show_envvar=True,
    help="Print the file, and write none.",
)
@click.option(
    "--import-seconds",
    type=Seconds(1),
    default=20.0,
    envvar="TASK_SERVER_IMPORT_SECONDS",
    show_envvar=True,
    help="How long the project's import may stand still; then its text is read instead.",
)
def command(
    app: str | None, code: str | None, path: Path | None, import_seconds: float, *, only_print: bool
) -> None:
    """
    Look at a project, and write a task-server.toml with what was found.

    Reads the settings, the Celery app, queues, routes, schedule, databases and storage, in a
    process of its own that connects to nothing. A file that exists is never changed: what it
    lacks is shown.
    """
    here = Path.cwd()
    existing = path if path is not None and os.path.lexists(path) else find(here)
    if path is not None and not os.path.lexists(path):
        existing = None
    config = _config(existing, app, code, tolerant=only_print)
    survey = look(config, here, os.environ, import_seconds, lambda text: click.echo(text, err=True))
    text = document(survey)
    for line in report(survey):
        click.echo(_printable(line), err=only_print)
    if only_print:
        click.echo(text, nl=False)
    elif existing is not None:
        _compare(existing, text)
    else:
        target = path or here / "task-server.toml"
        _write(target, text)
        click.echo(f"\nwritten: {target.name}. Next: task-server check, then task-server up")


def _config(existing: Path | None, app: str | None, code: str | None, *, tolerant: bool) -> Config:
    environ = environ_with(os.environ, app=app, code=code)
    try:
        return resolve(existing, environ).config
    except ConfigError as error:
        if not tolerant:
            raise
        # To print a better one is a way out of a file that is broken.
        click.echo(f"not read: {error}", err=True)
        return resolve(None, environ).config


def _compare(existing: Path, text: str) -> None:
    """Show what the file *existing* lacks of *text*, and how to take it."""
    lines = differences(table_of(existing), text)
    if not lines:
        click.echo(f"\n{existing.name} says all of this already; nothing was changed.")
        return
    click.echo(f"\n{existing.name} exists and was not changed. It differs in (- its own, + found):")
    for line in lines:
        click.echo(f"  {_printable(line)}")
    if existing.name == "pyproject.toml":
        click.echo("Take what you want into [tool.task-server] of it, by hand.")
        return
    own = shlex.quote(str(existing.name))
    click.echo(
        f"Take the lines that you want by hand; or all: task-server init --print > {own}.new && "
        f"mv {own}.new {own}"
    )


def _write(target: Path, text: str) -> None:
    """
    Write *text* to *target*, which must not exist.

    Raises:
        ConfigError: When it cannot be written.
    """
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        message = f"it cannot be written ({error.strerror}); `task-server init --print` shows it"
        raise ConfigError([Problem("the file", message)], str(target)) from error


def _printable(line: str) -> str:
    """Return *line* without what could move a terminal's cursor."""
    return "".join(one if one.isprintable() else "?" for one in line)
