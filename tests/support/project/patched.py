"""
A project that writes down what stands at each name of every module its worker has imported.

It writes three files: when the worker is ready, in a task, and at the end.
"""

import functools
import gc
import json
import os
import sys
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from celery import Celery, signals

if os.environ.get("PATCHED_DJANGO"):
    from django.conf import settings

    os.environ["DJANGO_SETTINGS_MODULE"] = "patched"
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "absent",
                "HOST": "/nonexistent",
            }
        }
    )
    import django

    django.setup()
    import asgiref.sync  # noqa: F401 - so that both workers have it

app = Celery("patched")

FILE = os.environ["PATCHED_FILE"]
OURS = "task_server"
SKIPPED = (OURS, "patched", "__main__", "__mp_main__")
PLAIN = (int, float, complex, str, bytes, bool, type(None), type)


def is_a(value: Any, kind: Any) -> bool:
    """Whether *value* is a *kind*; no lazy object is asked, which would load what it stands for."""
    return issubclass(type(value), kind)


def inner(value: Any) -> Any:
    """Return the function within *value*, if it wraps one."""
    while True:
        if is_a(value, staticmethod | classmethod | MethodType):
            value = value.__func__
        elif is_a(value, property):
            value = value.fget
        elif is_a(value, functools.partial | functools.cached_property):
            value = value.func
        else:
            return value


def described(value: Any) -> str:
    """Return what *value* is, the same in each process; of task_server it begins with that."""
    value = inner(value)
    if is_a(value, FunctionType):
        folder, _, file = value.__code__.co_filename.rpartition("/")
        package = OURS if f"/{OURS}/" in f"{folder}/" else Path(folder).name
        return f"{package} function {file}:{value.__qualname__}"
    if is_a(value, BuiltinFunctionType):
        return f"function {value.__module__}.{value.__qualname__}"
    kind = value if is_a(value, type) else type(value)
    if type(value) in PLAIN[:-1] or (is_a(value, tuple) and {*map(type, value)} <= {*PLAIN}):
        return repr(value)
    return f"{kind.__module__}.{kind.__qualname__}" + ("" if kind is value else " object")


def names(owner: Any, place: str, seen: set[int]) -> dict[str, str]:
    """Return what stands at each name of *owner*, a module or a class, and of its classes."""
    found = {}
    for name, value in list(vars(owner).items()):
        full = f"{place}.{name}" if ":" in place else f"{place}:{name}"
        found[full] = described(value)
        if is_a(value, dict) and not name.startswith("__") and id(value) not in seen:
            seen.add(id(value))
            for key, entry in list(value.items()):
                if is_a(key, str):
                    found[f"{full}[{key}]"] = described(entry)
        if is_a(value, type) and f"{value.__module__}:{value.__qualname__}" == full:
            found |= names(value, full, seen)
    return found


def shadowed() -> dict[str, str]:
    """
    Return the methods that one object has in place of its class's, and are of task_server.

    The keys have all names of such a method: of the class, and of the classes it inherits from.
    """
    gc.unfreeze()
    found = {}
    for one in gc.get_objects():
        kinds = type(one).__mro__
        # Classes of Cython and zope.interface may have no string there, but a slot.
        module = str(kinds[0].__module__)
        if is_a(one, type | ModuleType | FunctionType) or module.startswith(OURS):
            continue
        try:
            values = dict(vars(one))
        except (TypeError, RuntimeError):
            continue
        for name, value in values.items():
            is_method = any(callable(vars(kind).get(name)) for kind in kinds)
            if is_method and described(value).startswith(OURS):
                places = (f"{kind.__module__}:{kind.__qualname__}.{name}" for kind in kinds)
                found[" ".join(places)] = described(value)
    return found


def write(what: str) -> None:
    """Write the file *what*."""
    modules = {
        name: module
        for name, module in sorted(sys.modules.items())
        if is_a(module, ModuleType) and name.partition(".")[0] not in SKIPPED
    }
    found: dict[str, str] = {}
    seen: set[int] = set()
    for name, module in modules.items():
        found |= names(module, name, seen)
    patching = sys.modules.get("task_server.worker.patching")
    applied = sorted(patching.applied) if patching else []
    file = Path(f"{FILE}.new")
    file.write_text(json.dumps({"names": found, "shadowed": shadowed(), "applied": applied}))
    file.rename(f"{FILE}.{what}")


@signals.worker_ready.connect
def ready(**_: Any) -> None:
    """Write when the worker consumes."""
    write("ready")


@signals.worker_shutdown.connect
def ended(**_: Any) -> None:
    """Write at the end."""
    write("end")


@app.task
def snapshot() -> None:
    """Write from within a task."""
    write("task")
