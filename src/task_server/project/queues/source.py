"""
Names of queues in the source of a project, and in its settings.

A call of a task that names its queue (`apply_async(queue="batch1")`) counts as a
declaration. Another argument of that name, a default of a parameter or of a command's
option, and a setting that ends in QUEUE may mean something else, and are reported so.
"""

import ast
import os
import re
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Functions that send a task, or set how one is sent.
CALLS = frozenset(
    {"apply_async", "send_task", "set", "signature", "subtask", "Signature", "retry", "task"}
    | {"shared_task", "periodic_task", "apply_async_on_commit", "chunks"}
)

#: Arguments that name a queue.
ARGUMENTS = ("queue", "queue_name")

#: Folders whose code no worker runs.
SKIPPED = frozenset(
    {"node_modules", "site-packages", "dist-packages", "__pycache__", "migrations", "static"}
    | {"test", "tests", "testing", "locale"}
)

#: Matches the text of any file that has such a name.
_WORTH = re.compile(rb"queue(_name)?[\"']?\s*[=:]|-queue|QUEUES?\b[^=\n]*=|class \w*[Qq]ueue")

#: Limits of the search: files, bytes of one file, seconds.
FILES, BYTES, SECONDS = 20_000, 2**20, 3.0


@dataclass(frozen=True, slots=True)
class Seen:
    """
    A name of a queue, or what may be one.

    Attributes:
        where: File and line, or the setting.

        certain: Whether a task is sent there, so that it is a queue.
    """

    queue: str
    where: str
    certain: bool


def seen(app_name: str, settings: Any = None) -> tuple[Seen, ...]:
    """
    Return the names in the project's own modules and in *settings*.

    Args:
        app_name: The project's app, as `celery --app` takes it; imported.

        settings: Django's settings, or None.
    """
    return seen_in(_folders(app_name), {} if settings is None else _upper(settings))


def seen_in(paths: Iterable[Path], values: Mapping[str, Any]) -> tuple[Seen, ...]:
    """Return the names in the modules below *paths* and in the settings *values*, by name."""
    found: dict[str, Seen] = {}
    for one in (*_of_settings(values), *_of_files(_files(paths), values)):
        known = found.get(one.queue)
        if one.queue and one.queue != "*" and (known is None or one.certain > known.certain):
            found[one.queue] = one
    return tuple(found.values())


def _upper(settings: Any) -> dict[str, Any]:
    """Return the settings that may name queues, without reading any other."""
    names = (name for name in dir(settings) if name.isupper() and "QUEUE" in name)
    return {name: getattr(settings, name, None) for name in names}


def _of_settings(values: Mapping[str, Any]) -> Iterator[Seen]:
    for name, value in values.items():
        if name.endswith(("QUEUE", "QUEUES")):
            for queue in _texts(value):
                yield Seen(queue, f"the setting {name}", certain=False)


def _texts(value: Any) -> Iterator[str]:
    """Return the names in a setting: one, several, or those of a table."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        named = [one for one in value.values() if isinstance(one, str)]
        yield from named or (key for key in value if isinstance(key, str))
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            name = getattr(one, "name", one)
            if isinstance(name, str):
                yield name


def _folders(app_name: str) -> list[Path]:
    """Return the project's packages and modules: those of its app, and all but libraries."""
    top = app_name.partition(":")[0].partition(".")[0]
    libraries = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib")}
    libraries |= {Path(sysconfig.get_path("platlib")).resolve()}
    found: dict[Path, None] = {}
    for name, module in sorted(sys.modules.items()):
        if "." in name or name in ("__main__", "task_server", "sitecustomize"):
            continue
        file = getattr(module, "__file__", None)
        folders = getattr(module, "__path__", None)
        for place in [*(folders or ())] if folders else [file]:
            if not place:
                continue
            path = Path(place).resolve()
            foreign = any(path.is_relative_to(one) for one in libraries) or not (
                {"site-packages", "dist-packages"}.isdisjoint(path.parts)
            )
            if name == top or not foreign:
                found[path] = None
    return list(found)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(
                one for one in folders if one not in SKIPPED and not one.startswith(".")
            )
            for name in sorted(names):
                if name.endswith(".py") and not name.startswith(("test_", "conftest")):
                    yield Path(folder, name)


def _of_files(files: Iterable[Path], settings: Mapping[str, Any]) -> Iterator[Seen]:
    end = time.monotonic() + SECONDS
    trees: dict[str, ast.Module] = {}
    for number, file in enumerate(files):
        if number >= FILES or time.monotonic() > end:
            break
        try:
            text = file.read_bytes()[:BYTES]
            # Most files have no such name, and parsing is what takes time.
            if _WORTH.search(text):
                trees[str(file)] = ast.parse(text)
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    yield from of_modules(trees, settings)


def of_modules(trees: Mapping[str, ast.Module], settings: Mapping[str, Any]) -> Iterator[Seen]:
    """Return the names in *trees*, the source of each file, given the values of *settings*."""
    own = {file: _constants(tree) for file, tree in trees.items()}
    # A constant may be imported from another module; if two have its name, it is ambiguous.
    everywhere: dict[str, Any] = {}
    for constants in own.values():
        for name, (value, _) in constants.items():
            everywhere[name] = value if everywhere.get(name, value) == value else None
    everywhere.update(settings)
    for file, tree in trees.items():
        known = {**everywhere, **{name: value for name, (value, _) in own[file].items()}}
        for name, (value, line) in own[file].items():
            if name.upper().endswith(("QUEUE", "QUEUES")):
                for queue in _texts(value):
                    yield Seen(queue, f"{file}:{line}", certain=False)
        for node in ast.walk(tree):
            for expression, certain in _values(node):
                for queue in _resolved(expression, known):
                    yield Seen(queue, f"{file}:{expression.lineno}", certain=certain)


def _constants(tree: ast.Module) -> dict[str, tuple[Any, int]]:
    """
    Return the texts and lists of texts that the top level of *tree* names, with their lines.

    Also of a class for queues: ``Queues.BULK``.
    """
    found: dict[str, tuple[Any, int]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and "queue" in node.name.lower():
            for inner in node.body:
                found.update(
                    {f"{node.name}.{name}": value for name, value in _assigned(inner).items()}
                )
        else:
            found.update(_assigned(node))
    return found


def _assigned(node: ast.stmt) -> dict[str, tuple[Any, int]]:
    if isinstance(node, ast.Assign):
        targets: list[ast.expr] = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    else:
        return {}
    try:
        value = ast.literal_eval(node.value) if node.value is not None else None
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return {}
    if not isinstance(value, str | list | tuple | set):
        return {}
    return {one.id: (value, node.lineno) for one in targets if isinstance(one, ast.Name)}


def _values(node: ast.AST) -> Iterator[tuple[ast.expr, bool]]:
    """Return the expressions at *node* that name a queue, and whether that is certain."""
    if isinstance(node, ast.Call):
        called = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
        for one in node.keywords:
            if one.arg in ARGUMENTS:
                yield one.value, called in CALLS and one.arg == "queue"
            elif one.arg == "default" and called == "add_argument" and _is_queue_option(node):
                yield one.value, False
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        positional = [*node.args.posonlyargs, *node.args.args]
        defaults = node.args.defaults
        pairs = [
            *zip(positional[len(positional) - len(defaults) :], defaults, strict=True),
            *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
        ]
        yield from ((value, False) for one, value in pairs if one.arg in ARGUMENTS and value)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "queue":
                yield value, False


def _is_queue_option(call: ast.Call) -> bool:
    return any(
        isinstance(one, ast.Constant) and str(one.value).lstrip("-") in ("queue", "queue-name")
        for one in call.args
    )


def _resolved(value: ast.expr, known: Mapping[str, Any]) -> Iterator[str]:
    """Return the text that *value* is, or names."""
    if isinstance(value, ast.IfExp | ast.BoolOp):
        either = value.values if isinstance(value, ast.BoolOp) else [value.body, value.orelse]
        for one in either:
            yield from _resolved(one, known)
        return
    found = None
    if isinstance(value, ast.Constant):
        found = value.value
    elif isinstance(value, ast.Name):
        found = known.get(value.id)
    elif isinstance(value, ast.Attribute):
        if value.attr == "value":
            # Of an enumeration.
            yield from _resolved(value.value, known)
            return
        of_class = f"{getattr(value.value, 'id', '')}.{value.attr}"
        found = known.get(of_class, known.get(value.attr))
    if isinstance(found, str):
        yield found
