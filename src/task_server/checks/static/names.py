"""The modules of a project together: what a dotted name is, across imports."""

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from task_server.checks.static.literals import UNKNOWN, Reference, evaluate
from task_server.checks.static.module import Module, Send, Task
from task_server.checks.static.tasks import BASES

#: Imports that are followed from one module to the next.
FAR = 10

#: Constants that are looked up for one value.
STEPS = 5000


class Project:
    """All modules that were read, by name."""

    def __init__(
        self,
        modules: Iterable[Module],
        whole: Callable[[Module], bool],
        at: Callable[[str], None],
    ) -> None:
        self.modules = list(modules)
        #: Called with the path of the file that something expensive is about.
        self.at = at
        self._steps = 0
        self.by_name: dict[str, Module] = {}
        for one in self.modules:
            self.by_name.setdefault(one.name, one)
        self._tasks = {
            f"{one.name}.{task.variable}": task for one in self.modules for task in one.tasks
        }
        #: Packages of which every module was read.
        self.packages = {
            one.name.partition(".")[0] for one in self.modules if "." in one.name and whole(one)
        }
        # A project that computes names of tasks: none is certain.
        self.names_itself = any(
            "gen_task_name" in members
            for one in self.modules
            for _, members in one.classes.values()
        )

    def tasks(self) -> Iterator[tuple[Module, Task]]:
        """Return every task, with its module."""
        for module in self.modules:
            for task in module.tasks:
                yield module, task

    def task(self, name: str) -> Task | None:
        """Return the task that the dotted *name* leads to, or None."""
        found = self._home(name)
        return self._tasks.get(found) if found else None

    def split(self, name: str) -> tuple[Module | None, str]:
        """Return the module that *name* begins with, and the rest."""
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            module = self.by_name.get(".".join(parts[:length]))
            if module is not None:
                return module, ".".join(parts[length:])
        return None, name

    def _home(self, name: str, far: int = 0) -> str | None:  # noqa: PLR0911 - a way a case
        """Return the name of what *name* leads to where it is defined."""
        module, rest = self.split(name)
        if module is None or not rest or far > FAR:
            return None
        whole = f"{module.name}.{rest}"
        if whole in self._tasks:
            return whole
        first, dot, more = rest.partition(".")
        if first in module.imports and module.imports[first] != whole:
            return self._home(f"{module.imports[first]}{dot}{more}", far + 1)
        if first in module.classes or first in module.constants:
            value = module.constants.get(first)
            return (self._registered(module, value) or whole) if not more else whole
        for star in module.stars[:FAR]:
            found = self._home(f"{star}.{rest}", far + 1) if star != module.name else None
            if found is not None and found != f"{star}.{rest}":
                return found
            if found in self._tasks:
                return found
        return whole

    def _registered(self, module: Module, value: ast.expr | None) -> str | None:
        """Return the task in `charge = app.register_task(Charge())`."""
        match value:
            case ast.Call(func=ast.Attribute(attr="register_task"), args=[ast.Call() as made]):
                return self._home(f"{module.name}.{ast.unparse(made.func)}")
        return None

    def class_of(self, name: str) -> tuple[Module, str] | None:
        """Return the module and name of the class that *name* leads to."""
        whole = self._home(name)
        module, rest = self.split(whole) if whole else (None, "")
        return (module, rest) if module is not None and rest in module.classes else None

    def sends_itself(self, base: str, far: int = 0) -> bool:
        """Whether the class *base* has an `apply_async` or `delay` of its own, or may have."""
        if base in BASES or not base or self._is_apps_own(base):
            return False
        found = self.class_of(base)
        if found is None or far > FAR:
            # A class that is not in the project.
            return base.partition(".")[0] != "celery"
        bases, members = found[0].classes[found[1]]
        if members & {"apply_async", "delay"}:
            return True
        return any(self.sends_itself(self._named(found[0], one), far + 1) for one in bases)

    def _is_apps_own(self, name: str) -> bool:
        """Whether *name* is `app.Task` of an app of the project."""
        owner, _, last = name.rpartition(".")
        whole = self._home(owner) if last == "Task" else None
        module, rest = self.split(whole or owner)
        value = module.constants.get(rest) if module is not None else None
        made = isinstance(value, ast.Call) and ast.unparse(value.func).endswith("Celery")
        return made or owner in ("celery.current_app", "celery.app")

    def _named(self, module: Module, name: str) -> str:
        return name if "." in name else f"{module.name}.{name}"

    def sent(self, send: Send) -> list[Task]:
        """Return the tasks that *send* certainly sends; none if it may be another thing."""
        if send.name is not None:
            return [task for _, task in self.tasks() if task.name == send.name]
        found = self.task(send.receiver) if send.receiver else None
        return [found] if found is not None else []

    def value(self, module: Module, node: ast.expr | None) -> Any:
        """Return the value of *node*, an expression in *module*."""
        self._steps = 0
        return evaluate(node, lambda name: self.lookup(module, name))

    def lookup(  # noqa: PLR0911 - a way a case
        self, module: Module, name: str, far: int = 0
    ) -> Any:
        """Return the value of the constant *name* of *module*, or a Reference to something."""
        # Constants that name each other twice over are more than anybody can count.
        self._steps += 1
        if far > FAR or self._steps > STEPS:
            return UNKNOWN
        first, dot, rest = name.partition(".")
        if first in module.imports:
            target = f"{module.imports[first]}{dot}{rest}"
            home, inner = self.split(target)
            if home is None or not inner or (home is module and inner == name):
                return Reference(target)
            return self.lookup(home, inner, far + 1)
        if first in module.constants and not rest:
            node = module.constants[first]
            return evaluate(node, lambda one: self.lookup(module, one, far + 1))
        for star in module.stars[:FAR]:
            home = self.by_name.get(star)
            if home is not None and home is not module:
                found = self.lookup(home, name, far + 1)
                if found is not UNKNOWN:
                    return found
        if self.task(f"{module.name}.{name.removesuffix('.name')}") is not None:
            return Reference(f"{module.name}.{name}")
        return UNKNOWN

    def option(self, module: Module, task: Task, name: str) -> Any:
        """
        Return the value of an option of *task*; None if it sets none.

        UNKNOWN if it cannot be known: a computed one, or of a base class outside the project.
        """
        if name in task.options:
            return self.value(module, task.options[name])
        if task.some_unknown or task.is_class:
            return UNKNOWN
        return UNKNOWN if task.base and task.base not in BASES else None
