"""Whether a name is that of a task: known, certainly of none, or not to be told."""

from difflib import get_close_matches

from task_server.checks.static.names import Project
from task_server.project.queues.source import SKIPPED


class Registered:
    """The names of all tasks of a project."""

    def __init__(self, project: Project) -> None:
        self.project = project
        found = [task.name for _, task in project.tasks()]
        self.names = sorted({name for name in found if name is not None})
        #: Some task has a name that is computed.
        self.some_unknown = project.names_itself or None in found

    def has(self, name: str) -> bool:
        """Whether a task is called *name*, or may be: a folder more or less on the path."""
        return any(
            one == name or one.endswith(f".{name}") or name.endswith(f".{one}")
            for one in self.names
        )

    def may_hide(self, head: str) -> bool:
        """Whether a file that could not be read may have tasks whose names begin with *head*."""
        return any(
            one.opaque and (head.startswith(f"{one.name}.") or one.name.startswith(head))
            for one in self.project.modules
        )

    def why_not(self, name: str) -> str:  # noqa: C901, PLR0911 - a doubt a case
        """Return why *name* is certainly no task; empty if it is one, or may be."""
        top, dot, _ = name.partition(".")
        if self.has(name) or not dot or top == "celery" or top not in self.project.packages:
            return ""
        if self.project.names_itself or not SKIPPED.isdisjoint(name.split(".")):
            return ""
        module, rest = self.project.split(name)
        if module is None or self.may_hide(name):
            return ""
        if "." in rest or not rest:
            # A module that is not there; its tasks may have names of their own.
            if self.some_unknown or module.dynamic or rest.split(".")[0] in module.classes:
                return ""
            return f"there is no module {name.rpartition('.')[0]}" if rest else ""
        here = [task.name for task in module.tasks]
        if module.dynamic or None in here or rest in module.classes or module.stars:
            return ""
        if module.package and self.some_unknown:
            return ""
        if rest in module.imports:
            task = self.project.task(name)
            if task is None or task.name is None:
                return ""
            return f"{module.name} only imports it, and its name is {task.name}"
        if rest in module.constants:
            return ""
        return f"{module.path} has no task {rest}"

    def near(self, name: str) -> str:
        """Return words that name the task most like *name*; empty if none is."""
        close = get_close_matches(name[:200], self.names[:5000], n=1, cutoff=0.7)
        return f"did you mean {close[0]}?" if close else ""
