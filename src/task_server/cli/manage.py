"""`task-server manage …`: the project's manage.py, with the servers that `up` runs."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from task_server.cli.joined import join
from task_server.cli.options import app_option, config_option, resolved, state_option
from task_server.errors import TaskServerError
from task_server.launch.command import project_environ
from task_server.project.manage_file import manage_of

#: What follows belongs to Django.
PASSED = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(
    context_settings=PASSED,
    epilog="""
\b
Examples:
  task-server manage migrate --plan
  task-server manage createsuperuser
  task-server manage runserver
""",
)
@app_option
@config_option
@state_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [ARGS]...")
def command(app: str | None, path: Path | None, state: Path, arguments: tuple[str, ...]) -> None:
    """
    Run the project's manage.py with the servers that `up` runs in this folder.

    Options of ours (--app, --config, --state) come before COMMAND; the rest is Django's.
    Without a manage.py, Django's own management is run with the settings of the project.
    """
    become_manage(app, path, state, arguments)


def become_manage(
    app: str | None, path: Path | None, state: Path, arguments: Sequence[str]
) -> NoReturn:
    """Become manage.py with *arguments*: the terminal, signals and the exit code are its own."""
    config = resolved(path, app=app).config
    joined = join(state, os.environ)
    if joined is None:
        click.echo(f"no `up` runs in {state}: with the environment as it is", err=True)
    environ = {
        **os.environ,
        **project_environ(config, os.environ),
        **(joined.environ if joined else {}),
    }
    file = manage_of(config, Path.cwd())
    program = [str(file)] if file is not None else ["-m", "task_server.manage"]
    argv = [sys.executable, *program, *arguments]
    sys.stdout.flush()
    try:
        os.execve(sys.executable, argv, environ)  # noqa: S606 - no shell is meant
    except OSError as error:
        raise TaskServerError(f"{sys.executable} could not be started: {error}") from error
