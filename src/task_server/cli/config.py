"""`task-server config show|check`: the settings in effect, and where they come from."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click

from task_server.cli.completions import complete_processes
from task_server.cli.options import (
    MASK,
    app_option,
    config_option,
    resolved,
    unknown_worker,
    with_app,
)
from task_server.cli.own_settings import own_rows
from task_server.cli.spec import spec_here
from task_server.config.loader import Resolved
from task_server.config.model import SERVICE_TABLES, Config
from task_server.errors import ConfigError, TaskServerError
from task_server.launch.machine import this_machine
from task_server.launch.precedence import CHOSEN_BY_POOL, NUMBERS, with_project, worker_spec
from task_server.project.defaults import Default, worker_defaults
from task_server.project.load import imported
from task_server.settings.mask import masked

#: The origin of a number that neither file nor variable sets.
CHOSEN = "chosen by the pool, if the project sets none"


@click.group(
    epilog="""
\b
Examples:
  task-server config show                    every setting, its value and its origin
  task-server config show gevent             the Celery settings of one worker, with reasons
  task-server config show beat               the scheduler, its file and its entries
  task-server config check                   only validate: exit 0 or 78
"""
)
def command() -> None:
    """Show or check the configuration."""


@command.command()
@click.argument("worker", required=False, shell_complete=complete_processes)
@app_option
@config_option
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="TASK_SERVER_JSON",
    show_envvar=True,
    help="One JSON object instead of lines.",
)
def show(worker: str | None, app: str | None, path: Path | None, *, as_json: bool) -> None:
    """
    Show each setting with its value and origin; secrets are masked.

    With WORKER: the Celery settings that it starts with, the reason for each, and
    which ones the project's own settings override; then those that Celery does not
    have, with what each does. A service, such as beat, has its own settings.
    """
    found = resolved(path, need_app=False, app=app, launched=worker or "")
    if not found.config.app:
        try:
            found = with_app(found)
        except ConfigError as error:
            click.echo(f"Not compared with the project's own settings: {error}", err=True)
    if worker is None:
        chosen = _chosen(found.config)
        rows = [
            {"setting": name, "value": chosen[name], "from": CHOSEN}
            if value is None and chosen.get(name) is not None
            else {"setting": name, "value": value, "from": found.origins.get(name, "default")}
            for name, value in settings_of(found.config)
        ]
    elif worker in found.config.workers:
        rows = _celery_rows(found, worker)
    elif worker in SERVICE_TABLES:
        rows = _service_rows(found, worker)
    else:
        raise click.BadParameter(unknown_worker(found.config, worker), param_hint="WORKER")
    if as_json:
        click.echo(json.dumps(rows, default=repr))
        return
    width = max(len(row["setting"]) for row in rows)
    for row in rows:
        value = json.dumps(row["value"], default=repr)
        effect = row.get("effect", "")
        added = f": {effect}" if effect and effect != row["from"] else ""
        click.echo(f"{row['setting']:{width}}  {value:24}  {row['from']}{added}")


@command.command()
@app_option
@config_option
def check(app: str | None, path: Path | None) -> None:
    """Exit 0 silently if the configuration is valid, else report all errors."""
    resolved(path, need_app=False, app=app)


def settings_of(config: Config) -> Iterator[tuple[str, Any]]:
    """Return the dotted name and the value of each setting, secrets masked."""
    yield from _walk(config, "")


def _chosen(config: Config) -> dict[str, Any]:
    """Return the numbers that the pools choose if the configuration does not."""
    machine = this_machine()
    specs = [worker_spec(config, name, machine) for name in config.workers]
    return {
        f"workers.{spec.name}.{number}": getattr(spec, number) or None
        for spec in specs
        for number in CHOSEN_BY_POOL
    }


def _walk(part: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for field in fields(part):
        value = getattr(part, field.name)
        name = f"{prefix}{field.name}"
        if field.name == "origins":
            continue
        if isinstance(value, Mapping):
            table = field.metadata.get("table", f"{name}.{{}}")
            for key, row in value.items():
                yield from _walk(row, f"{table.format(key)}.")
        elif is_dataclass(value):
            yield from _walk(value, f"{name}.")
        elif "parser" in field.metadata:
            secret = field.metadata["secret"] and value is not None
            yield name, MASK if secret else masked(value)


def _service_rows(found: Resolved, name: str) -> list[dict[str, Any]]:
    """Return a row for each setting of the service *name*; of beat, what the project adds."""
    rows = [
        {"setting": setting, "value": value, "from": found.origins.get(setting, "default")}
        for setting, value in settings_of(found.config)
        if setting.startswith(f"{name}.")
    ]
    app = _project_app(found.config) if name == "beat" else None
    if app is not None:
        from task_server.cli.beat_shown import beat_rows  # noqa: PLC0415

        app.loader.import_default_modules()
        rows.extend(beat_rows(found, app))
    return rows


def _celery_rows(found: Resolved, name: str) -> list[dict[str, Any]]:
    config = found.config
    spec, _ = spec_here(config, name)
    app = _project_app(config)
    theirs: dict[str, Any] = {}
    backend, shared = None, True
    if app is not None:
        from task_server.project import celery_app  # noqa: PLC0415

        own = celery_app.own_settings(app, (*NUMBERS, "worker_pool"))
        spec = with_project(spec, own)
        backend = app.conf.result_backend
        shared = celery_app.shares_results(backend)
    defaults = worker_defaults(spec, backend, shared=shared)
    if app is not None:
        theirs = celery_app.own_settings(app, [default.name for default in defaults])
    rows = [_celery_row(default, theirs) for default in defaults]
    setting = f"workers.{name}.queues"
    queues = {
        "setting": setting,
        "value": config.workers[name].queues,
        "from": found.origins.get(setting, "default"),
    }
    return [queues, *rows, *own_rows(config, spec)]


def _celery_row(default: Default, theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value in effect, and the one that it overrides."""
    value, reason, effect = default.value, default.by or default.reason, default.reason
    if default.name in theirs:
        project = theirs[default.name]
        if not default.by:
            value, reason, effect = project, "the project's own settings", ""
            if project != default.value:
                reason += f", instead of our {json.dumps(default.value)}"
        elif project != value:
            reason += f", instead of the project's {json.dumps(project, default=repr)}"
    return {"setting": default.name, "value": value, "from": reason, "effect": effect}


def _project_app(config: Config) -> Any:
    """Return the project's Celery app, or None where it cannot be imported."""
    if not config.app:
        return None
    try:
        with imported(config) as app:
            return app
    except TaskServerError as error:
        click.echo(f"Not compared with the project's own settings: {error}", err=True)
        return None
