"""`up` again: the output of the one that runs, from now on."""

import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from task_server.local.control.client import NoAnswerError, RunningUp, Stream
from task_server.local.log_file import Reader, log_path, split
from task_server.local.supervisor.output import OURS, Log, wants_colour

#: How often the log is looked at. Seconds.
_LOOK_SECONDS = 0.1

#: How long an `up` that has just locked its folder has to open its socket. Seconds.
_SOCKET_SECONDS = 30.0


def attach(running: RunningUp) -> int:
    """Print the output of *running* until it ends, or until Ctrl-C; return the exit code."""
    log = Log(sys.stdout, colour=wants_colour(sys.stdout, os.environ))
    with Reader(log_path(running.state.path)) as reader, _watch(running) as stream:
        reader.skip()
        answers = iter(stream)

        def show() -> None:
            for line in reader.read():
                name, text = split(line)
                if name == OURS:
                    log.say(text)
                else:
                    log.write(name, text)
            if log.broken:
                raise BrokenPipeError

        click.echo(
            f"Attached to {running.described}: Ctrl-C leaves it running, `task-server down` "
            "stops it."
        )
        try:
            end = _until_end(stream, answers, show)
        except KeyboardInterrupt:
            click.echo("\nDetached; it goes on. `task-server down` stops it.")
            return 0
        except BrokenPipeError:
            return 128 + 13
        show()
    code = 1 if end is None else int(end["code"])
    click.echo(f"{running.described} has ended.")
    return code


def await_ready(running: RunningUp) -> int:
    """Wait until *running* is ready, and print its banner; return the exit code."""
    click.echo(f"{running.described} runs already in {running.state.path}")
    with _watch(running) as stream:
        for answer in stream:
            if answer["event"] == "ready":
                click.echo("\n".join(answer["banner"]))
                return 0
            if answer["event"] == "end":
                return int(answer["code"])
    return 1


def _until_end(stream: Stream, answers: Any, show: Callable[[], None]) -> dict[str, Any] | None:
    """Call *show* until the answers end; return the last one, None where it was killed."""
    while True:
        readable = stream.waiting() or select.select([stream], [], [], _LOOK_SECONDS)[0]
        show()
        if not readable:
            continue
        answer: dict[str, Any] | None = next(answers, None)
        if answer is None or answer["event"] == "end":
            return answer
        # Where it becomes ready now, the log has the banner.
        if answer["event"] == "ready" and not answer["now"]:
            click.echo("\n".join(answer["banner"]))


def _watch(running: RunningUp) -> Stream:
    """
    Return what *running* says of its state.

    It may have locked the folder a moment ago, and have no socket yet.
    """
    deadline = time.monotonic() + _SOCKET_SECONDS
    while True:
        newest = RunningUp.get(running.state.path)
        try:
            return newest.stream("watch")
        except NoAnswerError:
            starting = newest.info.get("command", "up") == "up" and "control" not in newest.info
            if not starting or time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_SECONDS)
