"""`task-server check`: what is wrong, or will go wrong, and how to fix it."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

import click

from task_server.cli.joined import join_for_check
from task_server.cli.options import (
    Seconds,
    app_option,
    config_option,
    resolved,
    state_option,
    traceback_option,
    unknown_worker,
)
from task_server.config.model import Config
from task_server.errors import ConfigError, Finding, TaskServerError, exit_code
from task_server.project.import_errors import TRACEBACK_VARIABLE
from task_server.project.load import imported
from task_server.transport import problem

#: The colour of each level.
COLOURS = {"ok": "green", "info": "cyan", "warning": "yellow", "error": "red"}

#: A setting of one worker.
_OF_WORKER = re.compile(r"workers\.(?P<name>[^.]+)\.\w+")

#: An upper bound on --worker NAME=COUNT.
MAX_COUNT = 100_000


@click.command(
    epilog="""
\b
Examples:
  task-server check                                 without asking any server
  task-server check --live                          also Redis, PostgreSQL and this machine
  task-server check --live --worker prefork=50 --worker gevent=2
  task-server check --stop-grace 60                 does the drain fit into Docker's stop grace?
  task-server check --json | jq -r '.[] | select(.level == "error").setting'
"""
)
@app_option
@config_option
@state_option
@click.option(
    "--live",
    is_flag=True,
    envvar="TASK_SERVER_CHECK_LIVE",
    show_envvar=True,
    help="Also ask Redis, PostgreSQL and this machine.",
)
@click.option(
    "--worker",
    "workers",
    multiple=True,
    metavar="NAME[=COUNT]",
    envvar="TASK_SERVER_CHECK_WORKERS",
    show_envvar=True,
    help="A worker that will run, and how many; repeatable.  "
    "[default: those configured, and built-in ones for the project's other queues]",
)
@click.option(
    "--stop-grace",
    type=Seconds(0),
    envvar="TASK_SERVER_STOP_GRACE",
    show_envvar=True,
    help="Seconds from SIGTERM to SIGKILL (stop_grace_period, TimeoutStopSec).",
)
@click.option(
    "--timeout",
    type=Seconds(0.001, 3600),
    default=5.0,
    envvar="TASK_SERVER_CHECK_TIMEOUT",
    show_envvar=True,
    help="Seconds to wait for each answer of a server.",
)
@click.option(
    "--project/--no-project",
    "with_project",
    default=True,
    envvar="TASK_SERVER_CHECK_PROJECT",
    show_envvar=True,
    help="Import the project, and check its settings and tasks.",
)
@traceback_option
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="TASK_SERVER_JSON",
    show_envvar=True,
    help="One JSON array instead of lines.",
)
def command(
    app: str | None,
    path: Path | None,
    workers: tuple[str, ...],
    stop_grace: float | None,
    timeout: float,
    *,
    state: Path,
    live: bool,
    with_project: bool,
    as_json: bool,
    show_traceback: bool,
) -> None:
    """
    Check the configuration, the project and, with --live, the servers.

    Prints one line each: ok, info, warning or error, with the step that fixes it.
    Exits 0 without errors, 69 if only servers did not answer, else 78.
    """
    if show_traceback:
        os.environ[TRACEBACK_VARIABLE] = "1"
    config = resolved(path, need_app=with_project, app=app).config
    joined = join_for_check(state, os.environ)
    given = _counts(config, workers)
    progress = Progress(shown=sys.stderr.isatty() and not as_json)
    # The import of the project redirects sys.stdout.
    out = sys.stdout

    def show(found: list[Finding]) -> None:
        progress.end()
        if as_json:
            click.echo(json.dumps([asdict(finding) for finding in found]), file=out)
        else:
            _print(found, out)
        out.flush()

    def late(error: TaskServerError) -> None:
        # Called in another thread: the importing one may hang for good.
        show([Finding("error", "app", str(error), peer=True)])
        os._exit(error.exit_code)

    project, facts = None, None
    found: list[Finding] = []
    if with_project:
        project, facts, found = _import_project(config, progress, late)
    from task_server import checks  # noqa: PLC0415 - imports Celery, as the project does

    counts = given or checks.used(config, facts)
    try:
        specs = {name: checks.spec_of(config, name, facts) for name in counts}
    except ConfigError as error:
        found.extend(Finding("error", one.setting, one.message) for one in error.problems)
        specs = {name: checks.spec_of(config, name, None) for name in counts}
    context = checks.Context(
        config=config,
        workers=specs,
        counts=counts,
        facts=facts,
        import_failed=with_project and facts is None,
        root=os.geteuid() == 0,
        force_root=bool(os.environ.get("C_FORCE_ROOT")),
        stop_grace=stop_grace,
        unknown_kombu=problem(),
    )
    found.extend(joined)
    found.extend(checks.offline(context))
    if live:
        progress.say("checking the servers and this machine")
        from task_server.checks.live import live as ask_servers  # noqa: PLC0415 - the clients, as well

        found.extend(ask_servers(context, project, os.environ, timeout))
    show(found)
    sys.exit(exit_code(found))


class Progress:
    """Shows on a terminal what takes time, in one line that is erased afterwards."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown

    def say(self, what: str) -> None:
        """Replace the line by *what*."""
        if self._shown:
            click.echo(f"\r\033[K{what} ...", nl=False, err=True)

    def end(self) -> None:
        """Erase the line."""
        if self._shown:
            click.echo("\r\033[K", nl=False, err=True)


def _counts(config: Config, given: Iterable[str]) -> dict[str, int]:
    """Return how many of each worker are given by --worker."""
    counts: dict[str, int] = {}
    for word in given:
        name, _, number = word.partition("=")
        if name not in config.workers:
            raise click.BadParameter(unknown_worker(config, name), param_hint="--worker")
        if number and not (number.isdecimal() and 0 < int(number[:7]) <= MAX_COUNT):
            raise click.BadParameter(
                f"{number[:20]!r} is not a number of workers; write {name}=2.",
                param_hint="--worker",
            )
        counts[name] = counts.get(name, 0) + int(number[:7] or 1)
    return counts


def _import_project(
    config: Config, progress: Progress, late: Callable[[TaskServerError], None]
) -> tuple[Any, Any, list[Finding]]:
    """Import the project; return its app and its facts, or None and the reason."""
    progress.say(f"importing {config.app}")
    try:
        from task_server.checks.inspect import ACKS_LATE, read  # noqa: PLC0415 - imports Celery

        with imported(config, preset=ACKS_LATE, on_stall=late) as project:
            facts = read(project, os.environ, config.app)
    except ConfigError as error:
        return None, None, [Finding("error", one.setting, one.message) for one in error.problems]
    except TaskServerError as error:
        return None, None, [Finding("error", "app", str(error), peer=True)]
    message = f"{config.app} can be imported ({len(facts.tasks)} tasks)"
    return project, facts, [Finding("ok", "app", message)]


def _print(found: list[Finding], out: TextIO) -> None:
    for finding in grouped(found):
        level = click.style(f"{finding.level:7}", fg=COLOURS[finding.level])
        click.echo(f"{level}  {finding.setting}: {finding.text}", file=out)
    errors = sum(finding.level == "error" for finding in found)
    warnings = sum(finding.level == "warning" for finding in found)
    click.echo(f"{_number(errors, 'error')}, {_number(warnings, 'warning')}", file=out)


def grouped(found: Iterable[Finding]) -> list[Finding]:
    """Return *found*, with findings that differ only in the worker merged into one, of NAME."""
    groups: dict[tuple[str, str, str], list[tuple[str, Finding]]] = {}
    for finding in found:
        match = _OF_WORKER.fullmatch(finding.setting)
        name = match["name"] if match else ""
        setting, text = (
            words.replace(f"workers.{name}.", "workers.NAME.") if match else words
            for words in (finding.setting, finding.text)
        )
        groups.setdefault((finding.level, setting, text), []).append((name, finding))
    lines = []
    for (_, setting, text), members in groups.items():
        finding = members[0][1]
        if len(members) > 1 and members[0][0]:
            names = ", ".join(name for name, _ in members)
            finding = replace(finding, setting=f"{setting} ({names})", message=text, repair="")
        lines.append(finding)
    return lines


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
