"""Calls that send tasks, and calls that wait for their results."""

import ast

from task_server.checks.static.literals import dotted
from task_server.checks.static.module import Place, Send
from task_server.checks.static.scope import Imports, Scope
from task_server.project.queues.source import CALLS

#: Methods that send a task. `delay_on_commit` waits for the transaction.
SENDS = frozenset({"delay", "apply_async", "send_task"})

#: What makes a signature of a task or changes one, and what joins several.
SIGNATURES = frozenset({"s", "si", "signature", "subtask", "set", "on_error", "link"})
CANVAS = frozenset({"celery.chain", "celery.group", "celery.chord"})

#: Those of the calls that name a queue that are known as a task's options.
DECORATORS = frozenset({"task", "shared_task", "periodic_task"})

#: What waits for a result.
WAITS = frozenset({"get", "join", "join_native", "wait"})


class Calls:
    """Finds the calls of one module."""

    def __init__(self, imports: Imports) -> None:
        self.imports = imports
        self.module = imports.module

    def note(self, node: ast.Call, scope: Scope) -> None:
        """Note that *node* sends a task, waits for one, or names a queue."""
        name = dotted(node.func).rpartition(".")[2] or getattr(node.func, "attr", "")
        if name in CALLS - DECORATORS:
            self.module.queues += [
                (one.value, Place.of(self.module.path, one.value))
                for one in node.keywords
                if one.arg == "queue"
            ]
        if name == "add_periodic_task":
            self._periodic(node, scope)
        match node.func:
            case ast.Attribute(attr=method, value=receiver) if method in SENDS:
                send = self._send(node, method, receiver, scope)
                if send is not None:
                    self.module.sends.append(send)
            case ast.Attribute(attr=method, value=waited) if method in WAITS and scope.task:
                self._wait(node, waited, scope)

    def _periodic(self, node: ast.Call, scope: Scope) -> None:
        """Note what `add_periodic_task(schedule, charge.s(), …)` adds."""
        if len(node.args) < 2 or any(one.arg == "expires" for one in node.keywords):  # noqa: PLR2004
            return
        receiver, text = "", None
        match node.args[1]:
            case ast.Call(args=[ast.Constant(value=str(name)), *_], func=function) if dotted(
                function
            ).endswith("signature"):
                text = name
            case other:
                receiver, _ = self._receiver(other, scope)
        place = Place.of(self.module.path, node)
        self.module.periodic.append((node.args[0], Send(receiver, "", place, text)))

    def result(self, name: str, call: ast.expr, scope: Scope) -> None:
        """Note that *name* is what *call* returned, which may be the result of a task."""
        scope.results.pop(name, None)
        match call:
            case ast.Call(func=ast.Attribute(attr=method, value=receiver)) if method in SENDS:
                send = self._send(call, method, receiver, scope)
                if send is not None and scope.task is not None:
                    scope.results[name] = send

    def _send(self, node: ast.Call, method: str, receiver: ast.expr, scope: Scope) -> Send | None:
        name, canvas = self._receiver(receiver, scope)
        text: str | None = None
        if method == "send_task" and node.args and isinstance(node.args[0], ast.Constant):
            given = node.args[0].value
            text = given if isinstance(given, str) else None
        if not name and not canvas and method != "send_task":
            return None
        return Send(
            name,
            method,
            Place.of(self.module.path, node),
            text,
            atomic=scope.atomic,
            view=scope.view and not scope.atomic,
            in_task=scope.task,
            later=any(one.arg in ("countdown", "eta") for one in node.keywords),
            canvas=canvas,
        )

    def _receiver(  # noqa: PLR0911 - a line a case
        self, node: ast.expr, scope: Scope
    ) -> tuple[str, bool]:
        """Return the dotted name of what *node* sends, and whether it is a canvas."""
        match node:
            case ast.Call(func=ast.Attribute(attr=attr, value=inner)) if attr in SIGNATURES:
                return self._receiver(inner, scope)
            case ast.Call(func=function):
                name = self.imports.target(dotted(function)).replace("celery.canvas.", "celery.")
                return "", name in CANVAS
            case ast.BinOp(op=ast.BitOr(), left=left):
                return self._receiver(left, scope)
        name = dotted(node)
        first = name.partition(".")[0]
        if scope.task is not None and name and name == scope.bound:
            return f"{self.module.name}.{scope.task.variable}", False
        if first in self.module.imports:
            # Also of an import in the function; one that another thing hides is rare.
            return self.imports.target(name) if first not in scope.local else "", False
        if not name or first in scope.local:
            return "", False
        return f"{self.module.name}.{name}", False

    def _wait(self, node: ast.Call, waited: ast.expr, scope: Scope) -> None:
        if any(one.arg == "disable_sync_subtasks" for one in node.keywords):
            return
        send: Send | None = None
        match waited:
            case ast.Name(id=name):
                send = scope.results.get(name)
            case ast.Call(func=ast.Attribute(attr=method, value=receiver)) if method in SENDS:
                send = self._send(waited, method, receiver, scope)
        if send is not None:
            place = Place.of(self.module.path, node)
            self.module.sends.append(
                Send(
                    send.receiver,
                    send.method,
                    place,
                    send.name,
                    in_task=scope.task,
                    waits=True,
                    canvas=send.canvas,
                )
            )
