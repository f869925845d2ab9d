"""`task-server settings explain NAME`: which file gave a Django setting its value."""

import json
import os
from pathlib import Path

import click

from task_server.cli.options import app_option, config_option, resolved, with_app
from task_server.project.discovery import SETTINGS_VARIABLE
from task_server.project.load import settings_folder
from task_server.settings import explain as explain_setting


@click.group(
    epilog="""
\b
Examples:
  task-server settings explain DATABASES
  task-server settings explain ALLOWED_HOSTS --app cl
"""
)
def command() -> None:
    """Inspect the layered settings files of a project."""


@command.command()
@click.argument("name")
@app_option
@config_option
def explain(name: str, app: str | None, path: Path | None) -> None:
    """
    Show which settings file sets NAME, and which ones it overrides.

    Values of names that look like secrets are masked.
    """
    found = resolved(path, need_app=False, app=app)
    if not (found.config.app or found.config.settings_module or SETTINGS_VARIABLE in os.environ):
        found = with_app(found)
    folder = settings_folder(found.config)
    changes = explain_setting(name, folder, os.environ)
    if not changes:
        raise click.ClickException(f"no file in {folder} sets {name}; Django's default applies.")
    for number, change in enumerate(changes, start=1):
        mark = "  <- in effect" if number == len(changes) else ""
        value = "" if change.action == "remove" else f" {json.dumps(change.value, default=repr)}"
        click.echo(f"{change.file}: {change.action}{value}{mark}")
