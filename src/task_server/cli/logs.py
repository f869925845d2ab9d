"""`task-server logs`: what the `up` of this folder has written."""

import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import click

from task_server.cli.completions import complete_logged
from task_server.cli.options import state_option
from task_server.config.variables import suggestion
from task_server.errors import TaskServerError
from task_server.local.control.client import RunningUp
from task_server.local.log_file import Reader, log_path, of_names, older, split
from task_server.local.servers.state import State
from task_server.local.supervisor.output import Log, wants_colour

#: How often a log that is followed is looked at. Seconds.
_LOOK_SECONDS = 0.1


@click.command(
    epilog="""
\b
Examples:
  task-server logs                    everything that is kept
  task-server logs prefork -n 50      the last lines of one process
  task-server logs -f                 and those to come
"""
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_logged)
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    envvar="TASK_SERVER_LOGS_FOLLOW",
    show_envvar=True,
    help="Go on until that `up` ends, or until Ctrl-C.",
)
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(0),
    envvar="TASK_SERVER_LOGS_LINES",
    show_envvar=True,
    help="Only the last ones.  [default: all]",
)
@state_option
def command(names: tuple[str, ...], state: Path, *, follow: bool, count: int | None) -> None:
    """
    Print the output of the `up` that runs in this folder, or of the last one.

    NAME is that of a process, or `up` for its own lines.
    """
    folder = State.existing(state)
    path = log_path(folder.path) if folder is not None else log_path(state)
    if folder is None or not path.exists():
        raise TaskServerError(f"There is no log in {state}: `task-server up` has not run there.")
    with ExitStack() as stack:
        # One reader for what is kept and what follows: no line is missed, and none comes twice.
        older_lines = list(Reader.whole(older(path)))
        reader = stack.enter_context(Reader(path))
        kept = [*older_lines, *reader.read()]
        _require(names, kept, state)
        log = Log(sys.stdout, colour=wants_colour(sys.stdout, os.environ))
        _print(log, _last(of_names(iter(kept), names), count))
        if follow:
            _follow(log, reader, names, RunningUp.find(state))


def _require(names: tuple[str, ...], kept: Iterable[str], state: Path) -> None:
    """
    Check that every one of *names* is in the log, or runs.

    Raises:
        click.BadParameter: One is not.
    """
    if not names:
        return
    known = dict.fromkeys(split(line)[0] for line in kept)
    running = RunningUp.find(state)
    if running is not None:
        known |= dict.fromkeys(one["name"] for one in running.ask("ps")["processes"])
    for name in names:
        if name not in known:
            near = suggestion(name, known)
            raise click.BadParameter(
                f"there is no {name!r} in the log{near}. There are: {', '.join(known)}.",
                param_hint="NAME",
            )


def _last(lines: Iterator[str], count: int | None) -> Iterable[str]:
    return lines if count is None else deque(lines, count)


def _print(log: Log, lines: Iterable[str]) -> None:
    for line in lines:
        log.write(*split(line))
    if log.broken:
        sys.exit(128 + 13)


def _follow(log: Log, reader: Reader, names: tuple[str, ...], running: RunningUp | None) -> None:
    while True:
        ended = running is None or running.state.lock_holder() is None
        _print(log, of_names(reader.read(), names))
        if ended:
            return
        time.sleep(_LOOK_SECONDS)
