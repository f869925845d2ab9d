"""`task-server check`: what is wrong, or would go wrong, and what to do about it."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from task_server.argv import decide, project_environ
from task_server.cli.options import app_option, config_option, resolved
from task_server.config import Config
from task_server.errors import ConfigError
from task_server.findings import Finding, exit_code
from task_server.machine import this_machine
from task_server.precedence import settled
from task_server.profiles import Profile, profile_of
from task_server.transport import problem

#: The colour of each level.
COLOURS = {"ok": "green", "info": "cyan", "warning": "yellow", "error": "red"}

#: The built-in worker that stands in for the two others in a single container.
ALONE = "all"


@click.command(
    epilog="""
\b
Examples:
  task-server check                                 what needs no server
  task-server check --live                          also Redis, PostgreSQL and this machine
  task-server check --live --worker prefork=50 --worker gevent=2
  task-server check --stop-grace 60                 fits the drain into Docker's stop grace?
  task-server check --json | jq -r '.[] | select(.level == "error").setting'
"""
)
@app_option
@config_option
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
    help="A worker that runs, and how many of it; may be given again.  "
    "[default: one of each but `all`]",
)
@click.option(
    "--stop-grace",
    type=click.FloatRange(0),
    envvar="TASK_SERVER_STOP_GRACE",
    show_envvar=True,
    help="Seconds from SIGTERM to SIGKILL (stop_grace_period, TimeoutStopSec).",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    envvar="TASK_SERVER_CHECK_TIMEOUT",
    show_envvar=True,
    help="Seconds that a server has for each answer.",
)
@click.option(
    "--project/--no-project",
    "look",
    default=True,
    envvar="TASK_SERVER_CHECK_PROJECT",
    show_envvar=True,
    help="Import the project, and look at its settings and tasks.",
)
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
    live: bool,
    look: bool,
    as_json: bool,
) -> None:
    """
    Check the configuration, the project and, with --live, the servers.

    One line each: ok, info, warning or error, with the step that repairs it.
    Exits 0 without errors, 69 when only a server did not answer, else 78.
    """
    config = resolved(path, need_app=look, app=app).config
    counts = _counts(config, workers)
    found = list(_findings(config, counts, stop_grace, look=look, live=timeout if live else None))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found]))
    else:
        _print(found)
    sys.exit(exit_code(found))


def _counts(config: Config, given: Iterable[str]) -> dict[str, int]:
    """Return how many of each worker there are."""
    counts: dict[str, int] = {}
    for word in given:
        name, _, number = word.partition("=")
        if name not in config.workers:
            known = ", ".join(config.workers)
            raise click.BadParameter(
                f"there is no worker {name!r}; there are {known}.", param_hint="--worker"
            )
        if number and not (number.isdecimal() and int(number)):
            raise click.BadParameter(
                f"{number!r} is not a number of workers; write {name}=2.", param_hint="--worker"
            )
        counts[name] = counts.get(name, 0) + int(number or 1)
    return counts or {name: 1 for name in config.workers if name != ALONE}


def _findings(
    config: Config,
    counts: Mapping[str, int],
    stop_grace: float | None,
    *,
    look: bool,
    live: float | None,
) -> Iterator[Finding]:
    from task_server import checks  # noqa: PLC0415 - imports Celery

    project: Any = None
    facts = None
    if look:
        try:
            project, facts = _import(config)
            yield Finding("ok", "app", f"{config.app} can be imported ({len(facts.tasks)} tasks)")
        except ConfigError as error:
            yield from (Finding("error", one.setting, one.message) for one in error.problems)
        except Exception as error:  # noqa: BLE001 - the project's own code raised it
            yield Finding(
                "error",
                "app",
                f"{config.app} cannot be imported: {type(error).__name__}: {error}",
                f"see the traceback with: python -c 'import {config.app.partition(':')[0]}'",
            )
    case = checks.Case(
        config=config,
        profiles={name: _profile(config, name, facts) for name in counts},
        counts=counts,
        facts=facts,
        root=os.geteuid() == 0,
        force_root=bool(os.environ.get("C_FORCE_ROOT")),
        stop_grace=stop_grace,
        unknown_kombu=problem(),
    )
    yield from checks.offline(case)
    if live is not None:
        yield from checks.live(case, project, os.environ, live)


def _profile(config: Config, name: str, facts: Any) -> Profile:
    """Return the worker *name* as it will be, with what the project itself sets."""
    machine = this_machine()
    profile = profile_of(config.workers[name], machine)
    if facts is None:
        return profile
    own = {name: facts.values[name] for name in facts.own}
    worker = settled(decide(config, profile, ""), own, machine).worker
    assert isinstance(worker.concurrency, int)  # noqa: S101 - it was decided
    assert worker.prefetch_multiplier is not None  # noqa: S101
    return replace(
        profile,
        concurrency=worker.concurrency,
        prefetch_multiplier=worker.prefetch_multiplier,
        max_memory_per_child=worker.max_memory_per_child,
    )


def _import(config: Config) -> tuple[Any, Any]:
    """Import the project as a worker does, in this process's environment."""
    from task_server import project  # noqa: PLC0415 - imports Celery
    from task_server.checks.reading import LATE, read  # noqa: PLC0415

    # The modules of the project see what a worker's would.
    os.environ.update(project_environ(config, os.environ))
    for folder in (str(Path.cwd()), config.code):
        if folder is not None and folder not in sys.path:
            sys.path.insert(0, folder)
    project.foresee(LATE)
    app = project.find(config.app)
    return app, read(app, os.environ, config.app)


def _print(found: list[Finding]) -> None:
    for finding in found:
        level = click.style(f"{finding.level:7}", fg=COLOURS[finding.level])
        click.echo(f"{level}  {finding.setting}: {finding.text}")
    errors = sum(finding.level == "error" for finding in found)
    warnings = sum(finding.level == "warning" for finding in found)
    click.echo(f"{_number(errors, 'error')}, {_number(warnings, 'warning')}")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
