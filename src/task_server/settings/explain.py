"""Which file gave a setting its value, and which it overrode."""

import ast
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from task_server.settings.files import execute, settings_files
from task_server.settings.mask import masked, snapshot

#: Value of a name that is not there.
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Change:
    """
    What one file did to a setting.

    *action* is `set` by the first file, `override` if a later one binds the
    name again, `change` if it alters the value in place
    (``DATABASES["default"]["HOST"] = …``), `remove` if it deletes the name.
    *value* is that after the file, without secrets (see `masked`); None if
    removed.
    """

    file: Path
    action: Literal["set", "override", "change", "remove"]
    value: Any


def explain(name: str, folder: Path, environ: Mapping[str, str] = os.environ) -> tuple[Change, ...]:
    """
    Execute the settings files of *folder* again and watch the setting *name*.

    Returns:
        The changes in the order in which they were made: the last one counts.
        Empty if no file sets it (then Django's default counts).

    Raises:
        ConfigError: As `load` does.
    """
    namespace: dict[str, Any] = {
        "__name__": "task_server_settings_explained",
        "__file__": str(folder / "__init__.py"),
    }
    changes = []
    for file in settings_files(folder, environ):
        before = namespace.get(name, _ABSENT)
        copy = snapshot(before)
        execute(file, namespace)
        after = namespace.get(name, _ABSENT)
        action = _action(before, after, in_place=snapshot(after) != copy)
        if action is None and after is not _ABSENT and _binds(file, name):
            # The same value again, which only the text of the file reveals.
            action = "override"
        if action is not None:
            changes.append(Change(file, action, None if after is _ABSENT else masked(after, name)))
    return tuple(changes)


def _action(
    before: Any, after: Any, *, in_place: bool
) -> Literal["set", "override", "change", "remove"] | None:
    if before is _ABSENT:
        return None if after is _ABSENT else "set"
    if after is _ABSENT:
        return "remove"
    if before is not after:
        return "override"
    return "change" if in_place else None


def _binds(file: Path, name: str) -> bool:
    """Return whether a top-level statement of *file* binds *name*."""
    for statement in ast.parse(file.read_bytes()).body:
        match statement:
            case ast.Assign(targets=targets):
                nodes = [node for target in targets for node in ast.walk(target)]
            case ast.AnnAssign(target=target, value=ast.expr()):
                nodes = [target]
            case _:
                continue
        for node in nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name:
                return True
    return False
