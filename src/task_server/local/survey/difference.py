"""What a configuration that exists lacks of what was found; settings, not their comments."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from task_server.errors import ConfigError, Problem


def table_of(path: Path) -> dict[str, Any]:
    """
    Return the settings in *path*: task-server.toml, or the table of a pyproject.toml.

    Raises:
        ConfigError: When it is no TOML, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except (OSError, ValueError) as error:
        raise ConfigError([Problem("the file", str(error))], str(path)) from error
    if path.name == "pyproject.toml":
        table = table.get("tool", {}).get("task-server", {})
    return table


def differences(own: Mapping[str, Any], found: str) -> list[str]:
    """
    Return the lines in which *found*, a file that `init` would write, differs from *own*.

    What only *own* has was decided by somebody, and is no difference.
    """
    mine = dict(_flat(own))
    lines = []
    for name, value in _flat(tomllib.loads(found)):
        if name not in mine:
            lines.append(f"+ {name} = {_shown(value)}")
        elif mine[name] != value:
            lines.append(f"- {name} = {_shown(mine[name])}")
            lines.append(f"+ {name} = {_shown(value)}")
    return lines


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)
