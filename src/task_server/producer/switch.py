"""Whether the producer is on: TASK_SERVER_PRODUCER, or `producer` in task-server.toml."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from task_server.config.files import read_text
from task_server.config.loader import find
from task_server.config.values import boolean
from task_server.errors import ConfigError, Problem

VARIABLE = "TASK_SERVER_PRODUCER"


def is_on(environ: Mapping[str, str] = os.environ, folder: Path | None = None) -> bool:
    """
    Return what the operator says; without a word it is on.

    The rest of task-server.toml is not a web server's affair, and is not judged here.

    Args:
        folder: Where task-server.toml is looked for; unset, the working folder.

    Raises:
        ConfigError: When it says something else than yes or no.
    """
    raw: object = environ.get(VARIABLE)
    origin = VARIABLE
    if raw is None:
        raw, origin = _in_file(environ, folder)
    if raw is None:
        return True
    try:
        return bool(boolean(raw))
    except ValueError as error:
        raise ConfigError([Problem("producer", f"{error} (from {origin})")]) from None


def _in_file(environ: Mapping[str, str], folder: Path | None) -> tuple[object, str]:
    named = environ.get("TASK_SERVER_CONFIG")
    try:
        path = Path(named) if named else find(folder or Path.cwd())
        if path is None:
            return None, ""
        document: Mapping[str, Any] = tomllib.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        # `task-server check` says what is wrong with it.
        return None, ""
    if path.name == "pyproject.toml":
        document = _table(_table(document, "tool"), "task-server")
    return document.get("producer"), path.name


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}
