"""`task-server shell`: Django's shell, with the servers that `up` runs."""

from pathlib import Path

import click

from task_server.cli.manage import PASSED, become_manage
from task_server.cli.options import app_option, config_option, state_option


@click.command(
    context_settings=PASSED,
    epilog="""
\b
Examples:
  task-server shell
  task-server shell --command "from cl.tasks import add; print(add.delay(2, 3).get())"
""",
)
@app_option
@config_option
@state_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
def command(app: str | None, path: Path | None, state: Path, arguments: tuple[str, ...]) -> None:
    """
    Run `manage.py shell` with the servers that `up` runs in this folder.

    What follows is Django's: --command, --interface ….
    """
    become_manage(app, path, state, ["shell", *arguments])
