"""
Which variables of the environment the settings read a value from, by their source.

`os.environ["DB_HOST"]`, `os.getenv("DB_HOST")`, and what django-environ, decouple and
dj-database-url have: `env.str("DB_HOST")`, `config("DB_HOST")`. Names that a settings file gives
to other names are followed. No file is imported.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

#: Bytes of a file that are read, and how often a name is followed to another.
_MOST, _STEPS = 2**20, 6

#: What reads the environment: the last name of what is called or indexed, before any method.
_READERS = frozenset({"environ", "getenv", "env", "config", "get_env", "getenv_or", "os_environ"})

#: What reads this variable if it is given no other.
_IMPLICIT: Mapping[str, str] = {
    "dj_database_url.config": "DATABASE_URL",
    "env.db": "DATABASE_URL",
    "env.db_url": "DATABASE_URL",
}


@dataclass(frozen=True, slots=True)
class Assignment:
    """The *value* that a settings file gives to a name at a *line*."""

    value: ast.expr
    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Settings:
    """The settings *files*, as text, in the order in which they are read."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._assigned: dict[str, list[Assignment]] = {}
        for file in files:
            for node in _parsed(file):
                for name, value in _assignments(node):
                    found = Assignment(value, file, getattr(node, "lineno", 0))
                    self._assigned.setdefault(name, []).append(found)

    def __bool__(self) -> bool:
        return bool(self._assigned)

    def variables(self, name: str) -> tuple[str, ...]:
        """Return the variables that the setting *name* is read from, in their order."""
        found: dict[str, None] = {}
        # A name that many others use is followed once for them all, not once a way to it.
        followed: dict[str, int] = {}
        for one in self._assigned.get(name, ()):
            found.update(dict.fromkeys(self._of(one.value, _STEPS, followed)))
        return tuple(found)

    def where(self, name: str) -> str:
        """Return file and line of the last assignment to *name*; empty if there is none."""
        found = self._assigned.get(name)
        return str(found[-1]) if found else ""

    def literal(self, name: str) -> object:
        """Return the value of *name* if it is written out, else None."""
        for one in reversed(self._assigned.get(name, ())):
            try:
                return ast.literal_eval(one.value)
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                continue
        return None

    def values(self, name: str) -> Iterator[ast.expr]:
        """Return the expressions that are given to *name*."""
        for one in self._assigned.get(name, ()):
            yield one.value

    def _of(self, value: ast.expr, steps: int, followed: dict[str, int]) -> Iterator[str]:
        for node in ast.walk(value):
            yield from _read_at(node)
            if not isinstance(node, ast.Name) or node.id in _READERS:
                continue
            if followed.get(node.id, 0) < steps:
                followed[node.id] = steps
                for one in self._assigned.get(node.id, ()):
                    yield from self._of(one.value, steps - 1, followed)


def parsed(file: Path) -> ast.Module | None:
    """Return the tree of *file*; None if it is none that can be read."""
    try:
        with file.open("rb") as opened:
            return ast.parse(opened.read(_MOST))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _parsed(file: Path) -> Iterator[ast.stmt]:
    """Return the statements of *file*, those inside conditions and classes too."""
    tree = parsed(file)
    waiting: list[ast.stmt] = [*(tree.body if tree else ())]
    while waiting:
        node = waiting.pop(0)
        yield node
        inner: list[ast.stmt] = []
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody"):
                inner.extend(getattr(node, field, ()))
            for handler in getattr(node, "handlers", ()):
                inner.extend(handler.body)
        waiting[:0] = inner


def _assignments(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """Return each name, or the table that one key of is set, with the value that it gets."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            base: ast.expr = target
            while isinstance(base, ast.Subscript | ast.Attribute):
                # `DATABASES["default"]["HOST"] = …`, `app.conf.broker_url = …`
                if isinstance(base, ast.Attribute):
                    yield base.attr, node.value
                base = base.value
            if isinstance(base, ast.Name):
                yield base.id, node.value
    elif isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
        yield node.target.id, node.value
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        # `app.conf.update(broker_url=…)`
        for one in node.value.keywords:
            if one.arg:
                yield one.arg, one.value


def _read_at(node: ast.AST) -> Iterator[str]:
    """Return the variable that *node* reads, if it reads one."""
    if isinstance(node, ast.Subscript) and _name_of(node.value).rpartition(".")[2] in _READERS:
        yield from _text(node.slice)
    elif isinstance(node, ast.Call):
        called = _name_of(node.func)
        parts = called.split(".")
        if parts[-2:-1] == ["config"] and len(node.args) > 1:
            # `config.get("celery", "broker")`: a section of a file, as configparser has them.
            return
        if not _READERS.isdisjoint(parts[-2:]):
            given = [*node.args[:1], *(one.value for one in node.keywords if one.arg == "env")]
            texts = [text for one in given for text in _text(one)]
            if texts:
                yield from texts[:1]
                return
        if called in _IMPLICIT:
            yield _IMPLICIT[called]


def _name_of(node: ast.expr) -> str:
    """Return a dotted name: `os.environ.get`; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _name_of(node.value)
        return f"{inner}.{node.attr}" if inner else node.attr
    return ""


def _text(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
        yield node.value
