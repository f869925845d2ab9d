"""What the commands that change something have in common: who acts, and asking first."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname
from typing import Any

import click

from task_server.cli.broker import broker_of
from task_server.cli.joined import use_up
from task_server.cli.options import resolved
from task_server.cli.status import queue_names
from task_server.errors import TaskServerError
from task_server.project.load import connecting_app
from task_server.transport.store.keys import Keys

by_option = click.option(
    "--by",
    envvar="TASK_SERVER_BY",
    show_envvar=True,
    help="Who does this, for the audit.  [default: your user name and this host]",
)

force_option = click.option(
    "--force",
    is_flag=True,
    envvar="TASK_SERVER_FORCE",
    show_envvar=True,
    help="Also for a name that nobody knows yet.",
)

yes_option = click.option(
    "--yes", is_flag=True, envvar="TASK_SERVER_YES", show_envvar=True, help="Do not ask."
)


def who(by: str | None) -> str:
    """Return who acts: *by*, else the user of this process, or who became root by sudo."""
    if by:
        return by
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):
        # As in a container, whose user has no name.
        user = f"uid {os.getuid()}"
    return f"{user}@{gethostname()}"


@contextmanager
def broker_and_queues(app: str | None, path: Path | None) -> Iterator[tuple[Any, Keys, list[str]]]:
    """Connect as `broker`; return also the queues of the configuration and the project."""
    use_up(os.environ)
    config = resolved(path, app=app).config
    project = connecting_app(config)
    names = queue_names(config, project)
    with broker_of(project) as (client, keys):
        yield client, keys, names


def ask(question: str, otherwise: str) -> None:
    """
    Go on if the reader says yes.

    Raises:
        TaskServerError: When nobody can answer, or does: *otherwise*.
    """
    try:
        sure = click.confirm(question, err=True)
    except click.Abort:
        raise TaskServerError(f"{otherwise}: nobody has answered; --yes does not ask.") from None
    if not sure:
        raise TaskServerError(f"{otherwise}.")
