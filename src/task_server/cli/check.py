"""`task-server check`: what is wrong, or will go wrong, and how to fix it."""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from task_server.checks import catalogue
from task_server.cli.check_report import FORMATS, report
from task_server.cli.check_static import (
    chosen,
    explain_option,
    ignore_option,
    print_rules,
    read_source,
    refuse_with_static,
    rules_option,
    select_option,
)
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

#: The rule that speaks of the import of the project.
NOT_IMPORTED = "project-not-imported"

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
  task-server check --static                        read the source alone: for CI, any checkout
  task-server check --static --format github        as annotations of a workflow
  task-server check --explain beat-unknown-task     why, an example, and the cure
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
@click.option(
    "--static",
    is_flag=True,
    envvar="TASK_SERVER_CHECK_STATIC",
    show_envvar=True,
    help="Read the Python files of PATHS as text: nothing of them is run or imported, and no "
    "server is asked.",
)
@select_option
@ignore_option
@rules_option
@explain_option
@traceback_option
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    envvar="TASK_SERVER_CHECK_FORMAT",
    show_envvar=True,
    help="Lines, one JSON array, or annotations of a workflow on GitHub.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="TASK_SERVER_JSON",
    show_envvar=True,
    help="The same as --format json.",
)
@click.argument("paths", nargs=-1, type=click.Path())
def command(  # noqa: PLR0917 - click gives them by name
    paths: tuple[str, ...],
    app: str | None,
    path: Path | None,
    workers: tuple[str, ...],
    stop_grace: float | None,
    timeout: float,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    explain: str | None,
    form: str,
    *,
    state: Path,
    static: bool,
    list_rules: bool,
    live: bool,
    with_project: bool,
    as_json: bool,
    show_traceback: bool,
) -> None:
    """
    Check the configuration, the project and, with --live, the servers.

    Prints one line each: ok, info, warning or error, with the step that fixes it.
    Exits 0 without errors, 69 if only servers did not answer, else 78.

    With --static it reads the Python files of PATHS (this folder) as text, and checks how they
    define, send, schedule and route tasks: for pre-commit, CI and checkouts of anybody.
    """
    if list_rules or explain is not None:
        print_rules(explain)
        return
    catalogue.verify(select, "--select")
    catalogue.verify(ignore, "--ignore")
    form = "json" if as_json else form
    if static:
        refuse_with_static(live=live, workers=workers)
        in_source = read_source(path, paths or (".",), select, ignore)
        report(in_source, form, sys.stdout)
        sys.exit(exit_code(in_source))
    if paths:
        raise click.UsageError("PATHS are read with --static; without it, the project is imported.")
    if show_traceback:
        os.environ[TRACEBACK_VARIABLE] = "1"
    config = resolved(path, need_app=with_project, app=app).config
    joined = join_for_check(state, os.environ)
    given = _counts(config, workers)
    catalogue.verify(config.check.ignore, "check.ignore")
    progress = Progress(shown=sys.stderr.isatty() and form == "text")
    # The import of the project redirects sys.stdout.
    out = sys.stdout

    def show(found: list[Finding]) -> None:
        progress.end()
        report(chosen(found, select, ignore or config.check.ignore), form, out)

    def late(error: TaskServerError) -> None:
        # Called in another thread: the importing one may hang for good.
        show([Finding("error", "app", str(error), peer=True, rule=NOT_IMPORTED)])
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
        found.extend(
            Finding("error", one.setting, one.message, rule="worker-settings")
            for one in error.problems
        )
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
    sys.exit(exit_code(chosen(found, select, ignore or config.check.ignore)))


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
        return (
            None,
            None,
            [
                Finding("error", one.setting, one.message, rule=NOT_IMPORTED)
                for one in error.problems
            ],
        )
    except TaskServerError as error:
        return None, None, [Finding("error", "app", str(error), peer=True, rule=NOT_IMPORTED)]
    message = f"{config.app} can be imported ({len(facts.tasks)} tasks)"
    return project, facts, [Finding("ok", "app", message, rule=NOT_IMPORTED)]
