"""What is known of one file of Python: its imports, tasks, calls of tasks and settings."""

import ast
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Place:
    """Lines and column of something in a file; lines and columns count from 1."""

    path: str
    line: int
    column: int = 1
    end_line: int = 0

    @classmethod
    def of(cls, path: str, node: Any) -> "Place":
        """Return where *node* stands in *path*."""
        end = node.end_lineno or node.lineno
        return cls(path, node.lineno, node.col_offset + 1, end)


@dataclass(slots=True)
class Task:
    """
    A task that a decorator or a class makes.

    Attributes:
        name: Its name in messages; None if it cannot be known.

        variable: The name in its module, dotted for one of a class.

        options: The arguments of its decorator, or the attributes of its class.

        retries: Whether its body calls `self.retry` without a number of its own.

        some_unknown: The decorator takes `**options`.
    """

    name: str | None
    variable: str
    place: Place
    options: dict[str, ast.expr] = field(default_factory=dict)
    base: str = ""
    retries: bool = False
    some_unknown: bool = False
    is_class: bool = False


@dataclass(slots=True)
class Send:
    """
    A call that sends a task.

    Attributes:
        receiver: Dotted name of what it is called on; empty if that has none.

        method: `delay`, `apply_async` or `send_task`.

        name: The text that `send_task` is given.

        atomic: The line of the transaction around it; 0 for none.

        view: It is in a view, which ATOMIC_REQUESTS wraps.

        in_task: It is in the body of a task.

        waits: Its result is waited for right there.

        later: It has a countdown or an ETA.
    """

    receiver: str
    method: str
    place: Place
    name: str | None = None
    atomic: int = 0
    view: bool = False
    in_task: Task | None = None
    waits: bool = False
    later: bool = False
    canvas: bool = False


@dataclass(slots=True)
class Setting:
    """
    A setting of Celery, or a part of one that is a table.

    Attributes:
        name: Celery's name, lower case.

        written: As it stands in the file.

        plain: It is set whenever the module is imported, and nothing else sets it there.
    """

    name: str
    written: str
    value: ast.expr
    place: Place
    plain: bool = True
    partial: bool = False


@dataclass(slots=True)
class Module:
    """One file. *name* is its dotted name, *package* whether it is an `__init__`."""

    path: str
    name: str
    package: bool
    imports: dict[str, str] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    #: Absolute dotted names of all imports, wherever they stand.
    imported: set[str] = field(default_factory=set)
    #: Dotted names that stand in text.
    texts: set[str] = field(default_factory=set)
    #: Classes that apps make tasks of.
    task_classes: list[str] = field(default_factory=list)
    #: It is a program, or makes the app.
    starts: bool = False
    tasks: list[Task] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    #: Queues that calls of tasks name.
    queues: list[tuple[ast.expr, Place]] = field(default_factory=list)
    #: Entries of the schedule that calls add: when, what, and where.
    periodic: list[tuple[ast.expr, Send]] = field(default_factory=list)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    #: By class: what it is derived from, and its methods and attributes.
    classes: dict[str, tuple[list[str], set[str]]] = field(default_factory=dict)
    #: Tasks may be made here that no decorator names.
    dynamic: bool = False
    #: It could not be read.
    opaque: bool = False
    first_line: int = 1

    def absolute(self, target: str, level: int) -> str:
        """Return the dotted name of *target*, imported with *level* dots."""
        if not level:
            return target
        parts = self.name.split(".")
        drop = level - 1 if self.package else level
        base = parts[: len(parts) - drop] if drop <= len(parts) else []
        return ".".join([*base, *([target] if target else [])])
