"""The rows of `beat_schedule` and `task_routes`, wherever the project writes them."""

import ast
from collections.abc import Iterator
from typing import Any

from task_server.checks.static.literals import Items, Row, Table
from task_server.checks.static.module import Module, Place
from task_server.checks.static.names import Project


def rows(project: Project, name: str) -> Iterator[tuple[Module, Row, Place]]:
    """Return the rows of each table that the setting *name* is given, with their places."""
    for module in project.modules:
        for setting in module.settings:
            if setting.name == name:
                value = project.value(module, setting.value)
                nodes = set(ast.walk(setting.value))
                for row in _rows(value):
                    # A row of a constant of another module stands there.
                    inside = row.node in nodes
                    place = Place.of(module.path, row.node) if inside else setting.place
                    yield module, row, place


def _rows(value: Any) -> Iterator[Row]:
    if isinstance(value, Table):
        yield from value.rows
    elif isinstance(value, Items):
        for one in value.values:
            if isinstance(one, Table):
                yield from one.rows
