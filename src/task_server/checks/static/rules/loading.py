"""Modules with tasks that no worker imports."""

from collections.abc import Iterator

from task_server.checks.static.findings import At, found
from task_server.checks.static.literals import Items
from task_server.checks.static.module import Task
from task_server.checks.static.names import Project

#: Functions that import what no line names.
WALKERS = ("pkgutil.walk_packages", "pkgutil.iter_modules", "pkgutil", "glob.glob")


def not_imported(project: Project) -> Iterator[At]:
    """Find modules whose tasks no worker registers, since nothing imports them."""
    imported = {name for one in project.modules for name in one.imported}
    if imported & set(WALKERS):
        return
    texts: set[str] = set()
    for one in project.modules:
        texts |= one.texts
    words = {word for name in imported | texts for word in name.split(".")}
    certain = _apps_are_known(project)
    for module in project.modules:
        tasks = [one for one in module.tasks if not one.is_class]
        if not tasks or module.starts or module.name.partition(".")[0] not in project.packages:
            continue
        package, _, last = module.name.rpartition(".")
        if last == "tasks" or module.package:
            loaded = (
                not certain
                or _is_named(module.name, imported | texts)
                or _is_named(package if last == "tasks" else module.name, texts)
            )
        else:
            # Of any other module: its last name, written anywhere, may load it.
            loaded = last in words
        if not loaded:
            yield found(
                "task-module-not-imported",
                "warning",
                tasks[0].place,
                f"nothing imports {module.name}, so no worker registers {_named(tasks)}: calls "
                "of it are rejected as unregistered",
                "import it in the app's tasks.py, or name it in the `imports` setting",
            )


def _named(tasks: list[Task]) -> str:
    first = tasks[0].variable
    return first if len(tasks) == 1 else f"{first} and {len(tasks) - 1} more"


def _is_named(name: str, names: set[str]) -> bool:
    return bool(name) and any(one == name or one.startswith(f"{name}.") for one in names)


def _apps_are_known(project: Project) -> bool:
    """Whether INSTALLED_APPS is written out, so that a package that it lacks is no app."""
    known = False
    for module in project.modules:
        for setting in module.settings:
            if setting.name == "INSTALLED_APPS":
                value = project.value(module, setting.value)
                if not isinstance(value, Items) or not value.complete:
                    return False
                if not all(isinstance(one, str) for one in value.values):
                    return False
                known = True
    return known
