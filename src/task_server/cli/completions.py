"""
The words that a shell completes: workers, queues, tasks, and what `up` runs.

Workers and their queues are in the configuration. The project's tasks and queues are known
when it is imported, which a child does in the background: it writes them to a file, which
is read here as long as the project's modules are as old as it says. Nothing here waits for
longer than a second, prints, or raises.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click
from click.shell_completion import CompletionItem

#: By which a shell asks; click's own, for a program of this name.
VARIABLE = "_TASK_SERVER_COMPLETE"

#: The longest that a completion may take, in seconds, and the variable for another time.
LIMIT = 1.0
LIMIT_VARIABLE = "TASK_SERVER_COMPLETION_SECONDS"

#: What of it a child is waited for that reads the names of the project.
FOR_NAMES = 0.7

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def complete_workers(ctx: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    """Return the workers of the configuration that begin with *start*."""
    return _items(_workers(ctx), start)


def complete_processes(ctx: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    """Return the workers, and the services beside them, that begin with *start*."""
    return _items(_processes(ctx), start)


def complete_running(ctx: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    """Return the processes of the `up` of this folder that begin with *start*."""
    return _items(_running(ctx), start)


def complete_logged(ctx: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    """Return the processes whose lines the log of `up` has, or will have."""
    return _items(_logged(ctx), start)


def complete_queues(ctx: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    """Return the queues of the workers and of the project that begin with *start*."""
    return _items(_queues(ctx), start)


def complete_tasks(ctx: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    """Return the tasks of the project that begin with *start*."""
    return _items(_names(ctx, "tasks"), start)


def _items(words: Iterable[str], start: str) -> list[CompletionItem]:
    try:
        found = sorted(dict.fromkeys(words))
    except Exception:  # noqa: BLE001 - a terminal shows no errors while somebody types
        return []
    # A line break would be another word, or a kind, to the shell.
    return [
        CompletionItem(word)
        for word in found
        if word and word.startswith(start) and word.isprintable()
    ]


def _workers(ctx: click.Context) -> Iterator[str]:
    yield from _config(ctx).workers


def _processes(ctx: click.Context) -> Iterator[str]:
    from task_server.config.model import SERVICE_TABLES  # noqa: PLC0415 - not for each word

    yield from _workers(ctx)
    yield from SERVICE_TABLES


def _running(ctx: click.Context) -> Iterator[str]:
    from task_server.local.control.client import RunningUp  # noqa: PLC0415

    running = RunningUp.find(_state(ctx))
    if running is not None:
        yield from (one["name"] for one in running.ask("ps")["processes"])


def _logged(ctx: click.Context) -> Iterator[str]:
    from task_server.errors import TaskServerError  # noqa: PLC0415
    from task_server.local.log_file import Reader, log_path, older, split  # noqa: PLC0415

    with suppress(TaskServerError):
        yield from _running(ctx)
    path = log_path(_state(ctx))
    for file in (older(path), path):
        yield from (split(line)[0] for line in Reader.whole(file))


def _state(ctx: click.Context) -> Path:
    from task_server.health.of_up import STATE, STATE_VARIABLE  # noqa: PLC0415

    return Path(ctx.params.get("state") or os.environ.get(STATE_VARIABLE) or STATE)


def _queues(ctx: click.Context) -> Iterator[str]:
    from task_server.config.values import ALL_QUEUES  # noqa: PLC0415

    for worker in _config(ctx).workers.values():
        yield from (queue for queue in worker.queues if queue != ALL_QUEUES)
    yield from _names(ctx, "queues")


def _config(ctx: click.Context):  # type: ignore[no-untyped-def]
    from task_server.config.loader import find, load  # noqa: PLC0415

    path = ctx.params.get("path") or os.environ.get("TASK_SERVER_CONFIG")
    return load(Path(path) if path else find(Path.cwd()), os.environ)


def _names(ctx: click.Context, kind: str) -> list[str]:
    """Return the names of the project that are known by now."""
    from task_server.project.discovery import discover  # noqa: PLC0415
    from task_server.project.names import known_names  # noqa: PLC0415

    config = _config(ctx)
    app = ctx.params.get("app") or config.app
    if not app:
        found = discover(config, Path.cwd(), os.environ)
        app, config = found.app, replace(config, code=config.code or found.code)
    names = known_names(replace(config, app=app), os.environ, FOR_NAMES * _limit())
    return names.get(kind, [])


def _limit() -> float:
    try:
        return max(0.1, min(60.0, float(os.environ.get(LIMIT_VARIABLE, LIMIT))))
    except ValueError:
        return LIMIT


def answer(arguments: list[str]) -> None:
    """Answer a shell that asks for completions, quietly and in time."""
    import signal  # noqa: PLC0415 - not for other commands

    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, _limit())
    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - until the process ends
    from task_server.cli import cli  # noqa: PLC0415

    try:
        cli(arguments, prog_name="task-server")
    except Exception:  # noqa: BLE001 - a terminal shows no errors while somebody types
        os._exit(0)
