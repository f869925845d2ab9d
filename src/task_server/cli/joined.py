"""Commands that join the `up` of this folder: its variables, without any being set."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from task_server.errors import Finding, TaskServerError
from task_server.health.of_up import STATE, STATE_VARIABLE

if TYPE_CHECKING:
    from task_server.local.control.client import RunningUp
    from task_server.local.variables import Variable


@dataclass(frozen=True, slots=True)
class Joined:
    """
    The `up` that a command joined.

    Attributes:
        described: It, in words.

        environ: What it adds to the environment of the command.
    """

    described: str
    environ: Mapping[str, str]


def variables_of(running: "RunningUp") -> "list[Variable]":
    """
    Return the variables that lead other processes to the servers of *running*.

    Raises:
        TaskServerError: It does not answer, or does not know them yet.
    """
    from task_server.local.variables import Variable  # noqa: PLC0415 - where one runs

    return [Variable.from_dict(one) for one in running.ask("environ")["variables"]]


def join(state: Path, environ: Mapping[str, str]) -> Joined | None:
    """
    Return what the `up` that runs in the folder *state* adds to *environ*; None without one.

    Raises:
        TaskServerError: It does not answer, or does not know them yet.
    """
    if not state.expanduser().is_dir():
        return None
    # What runs servers is imported where there are some: most commands are called without.
    from task_server.local.control.client import RunningUp  # noqa: PLC0415
    from task_server.local.variables import resolved  # noqa: PLC0415

    running = RunningUp.find(state)
    if running is None or running.info.get("command") != "up":
        return None
    added = resolved(variables_of(running), environ)
    return Joined(f"{running.described} in {running.state.path}", added)


def join_for_check(state: Path, environ: MutableMapping[str, str]) -> list[Finding]:
    """
    Add the variables of the `up` that runs in the folder *state* to *environ*.

    Return what there is to say of it: nothing where none runs.
    """
    try:
        joined = join(state, environ)
    except TaskServerError as error:
        return [Finding("warning", "up", str(error))]
    if joined is None:
        return []
    environ.update(joined.environ)
    names = ", ".join(joined.environ) or "no variable of ours"
    return [Finding("info", "up", f"with the servers of {joined.described}: {names}")]


def use_up(environ: MutableMapping[str, str]) -> None:
    """
    Add the variables of the `up` that runs in this folder to *environ*, and say so.

    Raises:
        TaskServerError: It does not answer, or does not know them yet.
    """
    joined = join(Path(environ.get(STATE_VARIABLE) or STATE), environ)
    if joined is not None and joined.environ:
        environ.update(joined.environ)
        click.echo(f"with the servers of {joined.described}", err=True)
