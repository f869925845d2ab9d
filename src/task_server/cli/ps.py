"""`task-server ps`: what the `up` of this folder runs."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from task_server.cli.options import state_option
from task_server.local.control.client import RunningUp

COLUMNS = ("NAME", "PID", "STATE", "SINCE", "RESTARTS", "ADDRESS")


@click.command(
    epilog="""
\b
Examples:
  task-server ps
  task-server ps --json | jq -r '.[] | select(.state != "ready").name'
"""
)
@state_option
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="TASK_SERVER_JSON",
    show_envvar=True,
    help="One JSON array instead of a table; `since` is in seconds since the epoch.",
)
def command(state: Path, *, as_json: bool) -> None:
    """
    List the processes of the `up` that runs in this folder.

    The state of one is starting, ready, draining (it ends its tasks, and starts again) or
    failed (it did not start again; a change of the code, or `restart`, starts it).
    """
    running = RunningUp.find(state)
    processes = [] if running is None else running.ask("ps")["processes"]
    if as_json:
        click.echo(json.dumps(processes))
    elif running is None:
        click.echo(f"Nothing runs in {state}.")
    else:
        click.echo(table([COLUMNS, *(_row(one) for one in processes)]))


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    seconds = max(0, int(time.time() - one["since"]))
    return (
        one["name"],
        str(one["pid"] or "-"),
        one["state"],
        age(seconds),
        str(one["restarts"]),
        one["address"] or "-",
    )


def age(seconds: int) -> str:
    """Return *seconds* in words: `2 h 5 min`."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return *rows* in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
