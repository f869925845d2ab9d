"""The options that several commands share, and the configuration they resolve to."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import click

from task_server.config import values
from task_server.config.loader import Resolved, find, resolve
from task_server.config.model import Config
from task_server.config.variables import suggestion, variable
from task_server.project.discovery import discover
from task_server.project.import_errors import TRACEBACK_VARIABLE

#: Shown instead of a secret.
MASK = "********"

config_option = click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="TASK_SERVER_CONFIG",
    show_envvar=True,
    help="The configuration file (TOML).  [default: ./task-server.toml or ./pyproject.toml]",
)

app_option = click.option(
    "--app",
    envvar="TASK_SERVER_APP",
    show_envvar=True,
    help="The project's Celery app, as for `celery --app`.  [default: that of manage.py, or of "
    "the only package with a celery.py]",
)

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="TASK_SERVER_JSON",
    show_envvar=True,
    help="JSON, with every field, instead of lines.",
)

traceback_option = click.option(
    "--traceback",
    "show_traceback",
    is_flag=True,
    envvar=TRACEBACK_VARIABLE,
    show_envvar=True,
    help="If the project cannot be imported, print the traceback too.",
)


# Generic since click 8.2, and only for type checkers.
if TYPE_CHECKING:
    _FloatType = click.ParamType[float]
else:
    _FloatType = click.ParamType


class PortOption(click.Option):
    """A port, whose variable a cluster may have written for a service: tcp://10.0.0.7:5555."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the variable's value, unless it is a cluster's."""
        value = super().resolve_envvar_value(ctx)
        return None if value is not None and "://" in value else value


class Seconds(_FloatType):
    """A number of seconds in a range; unlike click.FloatRange, never infinite or NaN."""

    name = "seconds"

    def __init__(self, minimum: float, maximum: float = values.LONGEST) -> None:
        self._kind = values.seconds(minimum, maximum)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return *value* as a number, or fail with the reason."""
        try:
            return float(self._kind(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class Span(_FloatType):
    """A span of time, in seconds: 90, 90s, 15m, 1h or 2d."""

    name = "span"

    _UNITS: ClassVar = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return *value* in seconds, or fail with the reason."""
        text = str(value).strip()
        number, unit = (text[:-1], text[-1]) if text[-1:].isalpha() else (text, "")
        try:
            return float(values.seconds(0)(float(number) * self._UNITS[unit]))
        except (ValueError, KeyError):
            self.fail(
                f"{values.shown(text)} is no span of time: 90, 90s, 15m, 1h, 2d, a year at most.",
                param,
                ctx,
            )


def alternatives(names: Iterable[str]) -> str:
    """Return *names* as a choice: `prefork, gevent or all`."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def unknown_worker(config: Config, name: str) -> str:
    """Return the error for an unknown worker *name*, with the choices and how to add one."""
    shown = values.shown(name)
    close = suggestion(name, config.workers)
    words = f"unknown worker {shown}; choose {alternatives(config.workers)}{close}"
    try:
        values.worker_name(name)
    except ValueError:
        return f"{words}."
    return (
        f"{words}. To add it, write [workers.{name}] in task-server.toml (or "
        f"[tool.task-server.workers.{name}] in pyproject.toml), or set "
        f"{variable(f'workers.{name}.queues')}."
    )


state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".task-server"),
    envvar="TASK_SERVER_STATE",
    show_envvar=True,
    help="Folder for the data of the local servers.",
)


def resolved(
    path: Path | None, *, need_app: bool = True, launched: str = "", **given: Any
) -> Resolved:
    """
    Return the configuration in *path* (or in this folder), with the options *given*.

    Options become the variables of the same settings. An app that is not set is
    discovered, and reported; without *need_app* it may stay empty.

    Args:
        launched: The worker that becomes this process, or that is asked about as if it did.

    Raises:
        ConfigError: With every problem found.
    """
    found = resolve(path or find(Path.cwd()), environ_with(os.environ, **given), launched)
    return found if found.config.app or not need_app else with_app(found)


def with_app(found: Resolved) -> Resolved:
    """
    Return *found* with the app discovered in this folder, and report how it was found.

    Raises:
        ConfigError: When there is no app, or more than one.
    """
    one = discover(found.config, Path.cwd(), os.environ)
    click.echo(f"app: {one.app}, found by {one.how}", err=True)
    origins = MappingProxyType({**found.origins, "app": one.how})
    code = found.config.code or one.code
    return Resolved(replace(found.config, app=one.app, code=code, origins=origins), origins)


def environ_with(environ: Mapping[str, str], **given: Any) -> dict[str, str]:
    """Return *environ* with the options *given* as the variables of their settings."""
    changed = dict(environ)
    for name, value in given.items():
        if value is not None:
            changed[f"TASK_SERVER_{name.upper()}"] = str(value)
    return changed
