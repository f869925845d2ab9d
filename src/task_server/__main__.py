"""`task-server`, or `python -m task_server`."""

import sys
from typing import NoReturn

import click

from task_server.cli import cli
from task_server.errors import TaskServerError


def main() -> NoReturn:
    """Run the command line; an error is one message and an exit code, never a traceback."""
    try:
        cli(prog_name="task-server")
    except TaskServerError as error:
        click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    sys.exit(0)


if __name__ == "__main__":
    main()
