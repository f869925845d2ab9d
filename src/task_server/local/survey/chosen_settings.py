"""
The settings module that manage.py chooses by variables of the environment, computed from its text.

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", f"shop.settings.{os.getenv('ENV', 'local')}")
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from task_server.local.survey.variables import parsed
from task_server.project.discovery import SETTINGS_VARIABLE

#: How deep an expression is followed.
_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Chosen:
    """The *module*, None if one of the *variables* that choose it is missing."""

    module: str | None
    variables: tuple[str, ...]


def chosen_settings(manage: Path, environ: Mapping[str, str]) -> Chosen | None:
    """Return what *manage*, a manage.py, chooses in *environ*; None if it chooses nothing."""
    tree = parsed(manage)
    if tree is None:
        return None
    for value in _given(tree):
        reader = _Reader(tree, environ)
        module = reader.text(value, _DEPTH)
        if reader.read:
            return Chosen(module, tuple(reader.read))
    return None


def _given(tree: ast.Module) -> Iterator[ast.expr]:
    """Return what DJANGO_SETTINGS_MODULE is set to in *tree*."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="setdefault"), args=[ast.Constant(value=name), value]
            ) if name == SETTINGS_VARIABLE:
                yield value
            case ast.Assign(
                targets=[ast.Subscript(slice=ast.Constant(value=name))], value=value
            ) if name == SETTINGS_VARIABLE:
                yield value


class _Reader:
    """Computes texts; *read* are the variables that were asked for."""

    def __init__(self, tree: ast.Module, environ: Mapping[str, str]) -> None:
        self.read: dict[str, None] = {}
        self._environ = environ
        self._names = {
            target.id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def text(self, node: ast.expr, depth: int) -> str | None:
        """Return the text that *node* is; None for what is none, or is not known."""
        if depth == 0:
            return None
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.Name):
            inner = self._names.get(node.id)
            return None if inner is None else self.text(inner, depth - 1)
        if isinstance(node, ast.FormattedValue):
            return self.text(node.value, depth - 1)
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            texts = (self.text(one, depth - 1) for one in node.values)
            return next((one for one in texts if one), None)
        parts = _parts(node)
        return self._joined(parts, depth) if parts else self._variable(node, depth)

    def _joined(self, parts: list[ast.expr], depth: int) -> str | None:
        texts = [self.text(one, depth - 1) for one in parts]
        known = [one for one in texts if one is not None]
        return "".join(known) if len(known) == len(texts) else None

    def _variable(self, node: ast.expr, depth: int) -> str | None:
        """Return the value of the variable that *node* reads, or its default."""
        match node:
            case ast.Call(
                func=ast.Attribute(attr="get" | "getenv"),
                args=[ast.Constant(value=str(name)), *rest],
            ):
                self.read[name] = None
                default = self.text(rest[0], depth - 1) if rest else None
                return self._environ.get(name, default)
            case ast.Subscript(
                value=ast.Attribute(attr="environ"), slice=ast.Constant(value=str(name))
            ):
                self.read[name] = None
                return self._environ.get(name)
            case ast.Call(func=ast.Attribute(attr="lower", value=inner), args=[]):
                text = self.text(inner, depth - 1)
                return None if text is None else text.lower()
        return None


def _parts(node: ast.expr) -> list[ast.expr]:
    """Return what *node* joins: an f-string's parts, or two texts that are added."""
    if isinstance(node, ast.JoinedStr):
        return node.values
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [node.left, node.right]
    return []
