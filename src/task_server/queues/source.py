"""
Names of queues in the source of a project, and in its settings.

A call of a task that names its queue (`apply_async(queue="batch1")`) is as good as a
declaration; another argument of that name, a default of a parameter or of a command's
option, and a setting that ends in QUEUE may be something else, and are told as such.
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

#: What sends a task, or says how one is sent.
CALLS = frozenset(
    {"apply_async", "send_task", "set", "signature", "subtask", "Signature", "retry", "task"}
    | {"shared_task", "periodic_task", "apply_async_on_commit", "chunks"}
)

#: Arguments that hold a queue's name.
ARGUMENTS = ("queue", "queue_name")

#: Folders without code that a worker runs.
SKIPPED = frozenset(
    {"node_modules", "site-packages", "dist-packages", "__pycache__", "migrations", "static"}
    | {"test", "tests", "testing", "locale"}
)

#: What the text of a file has if it has such a name at all.
_WORTH = re.compile(rb"queue(_name)?[\"']?\s*[=:]|-queue")

#: No more than this is read: files, bytes of one, seconds.
FILES, BYTES, SECONDS = 20_000, 2**20, 3.0


@dataclass(frozen=True, slots=True)
class Seen:
    """
    A name that is a queue's, or may be.

    Attributes:
        where: File and line, or the setting.

        certain: A task is sent there, so it is a queue.
    """

    queue: str
    where: str
    certain: bool


def seen(app_name: str, settings: Any = None) -> tuple[Seen, ...]:
    """
    Return the names in the modules that are the project's own, and in *settings*.

    Args:
        app_name: The project's app, as `celery --app` takes it; imported.

        settings: Django's settings, or None.
    """
    found: dict[str, Seen] = {}
    values = {} if settings is None else _upper(settings)
    for one in (*_of_settings(values), *_of_files(_files(_folders(app_name)), values)):
        known = found.get(one.queue)
        if one.queue and one.queue != "*" and (known is None or one.certain > known.certain):
            found[one.queue] = one
    return tuple(found.values())


def _upper(settings: Any) -> dict[str, Any]:
    """Return the settings that may name queues; another one is not even looked up."""
    names = (name for name in dir(settings) if name.isupper() and "QUEUE" in name)
    return {name: getattr(settings, name, None) for name in names}


def _of_settings(values: Mapping[str, Any]) -> Iterator[Seen]:
    for name, value in values.items():
        if name.endswith(("QUEUE", "QUEUES")):
            for queue in _texts(value):
                yield Seen(queue, f"the setting {name}", certain=False)


def _texts(value: Any) -> Iterator[str]:
    """Return the names in a setting: one, several, or a table of or by them."""
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
    """Return packages and modules of the project: its app's, and all that is no library."""
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


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_file():
            yield place
            continue
        for folder, folders, names in os.walk(place):
            folders[:] = sorted(
                one for one in folders if one not in SKIPPED and not one.startswith(".")
            )
            for name in sorted(names):
                if name.endswith(".py") and not name.startswith(("test_", "conftest")):
                    yield Path(folder, name)


def _of_files(files: Iterable[Path], settings: Mapping[str, Any]) -> Iterator[Seen]:
    end = time.monotonic() + SECONDS
    for number, file in enumerate(files):
        if number >= FILES or time.monotonic() > end:
            return
        try:
            text = file.read_bytes()[:BYTES]
            # Most files have nothing of the kind, and parsing takes the time.
            tree = ast.parse(text) if _WORTH.search(text) else None
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if tree is not None:
            yield from of_module(tree, str(file), settings)


def of_module(tree: ast.Module, file: str, settings: Mapping[str, Any]) -> Iterator[Seen]:
    """Return the names in *tree*, the source of *file*."""
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        for value, certain in _values(node):
            for queue in _resolved(value, constants, settings):
                yield Seen(queue, f"{file}:{value.lineno}", certain=certain)


def _values(node: ast.AST) -> Iterator[tuple[ast.expr, bool]]:
    """Return the expressions at *node* that are a queue's name, and whether they surely are."""
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


def _resolved(
    value: ast.expr, constants: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[str]:
    """Return what *value* is, where it is text, a constant of the module or a setting."""
    if isinstance(value, ast.Constant):
        found = value.value
    elif isinstance(value, ast.Name):
        found = constants.get(value.id)
    elif isinstance(value, ast.Attribute):
        found = settings.get(value.attr)
    elif isinstance(value, ast.IfExp):
        for branch in (value.body, value.orelse):
            yield from _resolved(branch, constants, settings)
        return
    elif isinstance(value, ast.BoolOp):
        for operand in value.values:
            yield from _resolved(operand, constants, settings)
        return
    else:
        return
    if isinstance(found, str):
        yield found
