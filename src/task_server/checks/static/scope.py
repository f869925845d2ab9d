"""What is around a place in a file: the names of its function, a transaction, a task, a class."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from task_server.checks.static.module import Module, Send, Task


@dataclass(slots=True)
class Scope:
    """
    What holds for a node.

    Attributes:
        local: Names that the functions around it bind.

        atomic: The line of the transaction around it; 0 for none.

        task: The task whose body it is in, and *bound* its name for itself.

        klass: The dotted name of the class around it.

        view: It is in a view.

        results: Names of the results of calls of tasks.
    """

    local: frozenset[str] = frozenset()
    atomic: int = 0
    task: Task | None = None
    bound: str = ""
    klass: str = ""
    view: bool = False
    function: bool = False
    results: dict[str, Send] = field(default_factory=dict)

    def inner(self) -> "Scope":
        """Return a scope in this one, where the same holds."""
        return replace(self)

    def deferred(self, arguments: ast.arguments) -> "Scope":
        """Return the scope of a body that runs later, outside a transaction."""
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        names = {one.arg for one in every}
        return replace(self, atomic=0, view=False, local=self.local | names)


class Imports:
    """What the names of a module were imported as."""

    def __init__(self, module: Module) -> None:
        self.module = module

    def note(self, node: ast.Import | ast.ImportFrom) -> None:
        """Note what *node* imports."""
        module = self.module
        if isinstance(node, ast.Import):
            for one in node.names:
                module.imported.add(one.name)
                top = one.name.partition(".")[0]
                module.imports[one.asname or top] = one.name if one.asname else top
            return
        source = module.absolute(node.module or "", node.level)
        module.imported.add(source)
        for one in node.names:
            if one.name == "*":
                module.stars.append(source)
                continue
            name = f"{source}.{one.name}".lstrip(".")
            module.imported.add(name)
            module.imports[one.asname or one.name] = name

    def target(self, name: str) -> str:
        """Return what the dotted *name* was imported as, or *name* of this module."""
        first, dot, rest = name.partition(".")
        return f"{self.module.imports.get(first, first)}{dot}{rest}"


def bound(nodes: list[ast.stmt]) -> Iterator[str]:
    """Return the names that *nodes*, the body of a function, bind, but for those of imports."""
    waiting: list[ast.AST] = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue
        elif isinstance(node, ast.Lambda):
            continue
        waiting.extend(ast.iter_child_nodes(node))
