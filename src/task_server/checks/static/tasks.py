"""Which functions and classes are tasks, and by which name."""

import ast
from collections.abc import Callable

from task_server.checks.static.literals import dotted
from task_server.checks.static.module import Module, Place, Task

#: The decorators of Celery, and the methods of an app that are one.
SHARED = frozenset({"celery.shared_task", "celery.app.shared_task", "celery.decorators.task"})

#: Other libraries whose objects have a method `task`.
FOREIGN = frozenset({"huey", "invoke", "prefect", "airflow", "taskiq", "fabric", "locust"})

#: Classes of Celery that tasks are derived from.
BASES = frozenset(
    {"celery.Task", "celery.app.task.Task", "celery.task.Task", "celery.task.base.Task"}
    | {"celery.contrib.django.task.DjangoTask"}
)


def decorated(
    node: ast.FunctionDef | ast.AsyncFunctionDef,
    module: Module,
    klass: str,
    target: Callable[[str], str],
) -> Task | None:
    """Return the task that the decorators of *node* make of it, or None."""
    for one in node.decorator_list:
        call = one if isinstance(one, ast.Call) else None
        written = dotted(call.func if call else one)
        if not _is_decorator(written, target(written)):
            continue
        options = {word.arg: word.value for word in call.keywords if word.arg} if call else {}
        variable = f"{klass}.{node.name}" if klass else node.name
        unknown = call is not None and any(word.arg is None for word in call.keywords)
        celerys_own = written.rpartition(".")[2] in ("task", "shared_task")
        name = None if unknown or not celerys_own else _named(options, module, node.name)
        place = Place.of(module.path, one)
        place.end_line = node.body[0].lineno
        base = options.get("base")
        return Task(
            name,
            variable,
            place,
            options,
            base=target(dotted(base)) if base is not None else "",
            some_unknown=unknown,
        )
    return None


def _is_decorator(written: str, name: str) -> bool:
    """Whether the decorator *written*, imported as *name*, makes a task of Celery, or may."""
    if not written or name.partition(".")[0] in FOREIGN:
        return False
    last = written.rpartition(".")[2]
    if name in SHARED or last == "shared_task":
        return True
    if last == "task":
        return "." in written or name.startswith("celery.")
    # The project's own, which may set a name.
    return last.lower().endswith("_task") and not last.startswith(("is_", "has_", "skip_"))


def _named(options: dict[str, ast.expr], module: Module, function: str) -> str | None:
    given = options.get("name")
    if given is None or (isinstance(given, ast.Constant) and given.value is None):
        return f"{module.name}.{function}"
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else None


def class_task(node: ast.ClassDef, name: str, bases: list[str], module: Module) -> Task | None:
    """Return the task that the class *node* is, or None."""
    own = any(one in BASES or (one in module.classes and _of_task(one, module)) for one in bases)
    runs = any(isinstance(one, ast.FunctionDef) and one.name == "run" for one in node.body)
    if not own and not (runs and any(one.endswith("Task") for one in bases)):
        return None
    options = {
        one.targets[0].id: one.value
        for one in node.body
        if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name)
    }
    place = Place(module.path, node.lineno, node.col_offset + 1, node.lineno)
    return Task(_named(options, module, name), name, place, options, is_class=True)


def _of_task(name: str, module: Module, depth: int = 0) -> bool:
    bases = module.classes.get(name, ([], set()))[0]
    return depth < 8 and any(  # noqa: PLR2004 - deeper is no task of people
        one in BASES or _of_task(one, module, depth + 1) for one in bases
    )


def registers(node: ast.Call, target: Callable[[str], str]) -> bool:
    """Whether the call may make a task that no decorator names."""
    written = dotted(node.func)
    name = written.rpartition(".")[2]
    if name in ("register_task", "gen_task_name") or written.endswith(".tasks.register"):
        return True
    if not node.args or not isinstance(node.args[0], ast.Name | ast.Attribute | ast.Lambda):
        return False
    return name == "shared_task" or (
        name == "task" and "." in written and _is_decorator(written, target(written))
    )
