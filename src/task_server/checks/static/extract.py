"""The tree of one file -> Module: imports, tasks, calls of tasks, transactions, settings."""

import ast
import re

from task_server.checks.static.calls import Calls
from task_server.checks.static.literals import dotted
from task_server.checks.static.module import Module, Task
from task_server.checks.static.scope import Imports, Scope, bound
from task_server.checks.static.settings import settings_of
from task_server.checks.static.tasks import class_task, decorated, registers

#: What wraps its body in a transaction.
ATOMIC = frozenset(
    {"django.db.transaction.atomic", "django.db.transaction.Atomic"}
    | {"django.db.transaction.commit_on_success"}
)

#: A name of a view's class, and the methods that a request calls.
_VIEW = re.compile(r"(View|ViewSet|APIView)$")
HANDLERS = frozenset(
    {"get", "post", "put", "patch", "delete", "form_valid", "form_invalid"}
    | {"perform_create", "perform_update", "perform_destroy", "create", "update", "destroy"}
)

_NAME = re.compile(r"[A-Za-z_][\w.]*")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def module_of(tree: ast.Module, module: Module) -> Module:
    """Fill *module* with what is known of *tree*, and return it."""
    code = tree.body[1:] if ast.get_docstring(tree, clean=False) is not None else tree.body
    module.first_line = code[0].lineno if code else 2**31
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for one in targets:
                if isinstance(one, ast.Name):
                    module.constants[one.id] = node.value
    _Reader(module).body(tree, Scope())
    module.settings = settings_of(tree, module)
    return module


class _Reader:
    """Walks a tree once, with what is around each node."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.imports = Imports(module)
        self.calls = Calls(self.imports)

    def body(self, node: ast.AST, scope: Scope) -> None:
        for child in ast.iter_child_nodes(node):
            self.visit(child, scope)

    def visit(self, node: ast.AST, scope: Scope) -> None:  # noqa: C901 - a kind of node a case
        match node:
            case ast.Import() | ast.ImportFrom():
                self.imports.note(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node, scope)
            case ast.ClassDef():
                self._class(node, scope)
            case ast.Lambda():
                self.visit(node.body, scope.deferred(node.args))
            case ast.With() | ast.AsyncWith():
                self._with(node, scope)
            case ast.Call():
                self._call(node, scope)
                self.calls.note(node, scope)
                self.body(node, scope)
            case ast.Assign(targets=[ast.Attribute(attr="Task")], value=value):
                self.module.task_classes.append(self.imports.target(dotted(value)))
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.body(node, scope)
                self.calls.result(name, value, scope)
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                self.module.starts = True
                self.body(node, scope)
            case ast.Constant(value=str(text)):
                if len(text) < 200 and _NAME.fullmatch(text):  # noqa: PLR2004 - no name is longer
                    self.module.texts.add(text)
            case _:
                self.body(node, scope)

    def _function(self, node: Function, scope: Scope) -> None:
        for part in [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]:
            if part is not None:
                self.visit(part, scope)
        inner = scope.deferred(node.args)
        inner.local |= frozenset(bound(node.body))
        self._enter(node, scope, inner)
        names = [self._decorator(one) for one in node.decorator_list]
        if not ATOMIC.isdisjoint(names):
            inner.atomic = node.lineno
        inner.view = self._is_view(node, scope, names)
        inner.function = True
        for one in node.body:
            self.visit(one, inner)

    def _enter(self, node: Function, scope: Scope, inner: Scope) -> None:
        """Note in *inner*, the scope of the body of *node*, which task it is."""
        task = decorated(node, self.module, scope.klass, self.imports.target)
        if task is not None:
            self.module.tasks.append(task)
            inner.task, inner.results = task, {}
            first = [*node.args.posonlyargs, *node.args.args][:1]
            inner.bound = first[0].arg if first and "bind" in task.options else ""
        elif scope.klass and node.name == "run":
            inner.task, inner.results = self._of_class(scope.klass), {}
            inner.bound = "self" if inner.task else ""
        else:
            # What a task defines may run elsewhere.
            inner.task = None

    def _of_class(self, klass: str) -> Task | None:
        return next((one for one in self.module.tasks if one.variable == klass), None)

    def _decorator(self, node: ast.expr) -> str:
        if not isinstance(node, ast.Call):
            return self.imports.target(dotted(node))
        name = self.imports.target(dotted(node.func))
        return self._decorator(node.args[0]) if "method_decorator" in name and node.args else name

    def _is_view(self, node: Function, scope: Scope, decorators: list[str]) -> bool:
        if any(one.endswith("non_atomic_requests") for one in decorators):
            return False
        if scope.klass:
            bases = self.module.classes.get(scope.klass, ([], set()))[0]
            return node.name in HANDLERS and any(_VIEW.search(one) for one in bases)
        arguments = [one.arg for one in node.args.args]
        named = self.module.name.rpartition(".")[2]
        return not scope.function and arguments[:1] == ["request"] and "view" in named

    def _class(self, node: ast.ClassDef, scope: Scope) -> None:
        bases = [self.imports.target(dotted(one)) for one in node.bases]
        members = {
            one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        name = f"{scope.klass}.{node.name}" if scope.klass else node.name
        self.module.classes[name] = (bases, members)
        task = class_task(node, name, bases, self.module)
        if task is not None:
            self.module.tasks.append(task)
        inner = scope.inner()
        inner.klass, inner.atomic, inner.function = name, 0, False
        for one in [*node.decorator_list, *node.bases, *node.body]:
            self.visit(one, inner)

    def _with(self, node: ast.With | ast.AsyncWith, scope: Scope) -> None:
        inner = scope.inner()
        for item in node.items:
            self.visit(item.context_expr, scope)
            called = item.context_expr
            written = dotted(called.func if isinstance(called, ast.Call) else called)
            name = self.imports.target(written)
            if name in ATOMIC:
                inner.atomic = node.lineno
            if name.endswith("allow_join_result"):
                inner.task = None
        for one in node.body:
            self.visit(one, inner)

    def _call(self, node: ast.Call, scope: Scope) -> None:
        """Note what the call says of tasks and apps."""
        if registers(node, self.imports.target):
            self.module.dynamic = True
        if dotted(node.func).rpartition(".")[2].endswith("Celery"):
            self.module.starts = True
            self.module.task_classes += [
                self.imports.target(dotted(one.value))
                for one in node.keywords
                if one.arg == "task_cls"
            ]
        match node.func:
            case ast.Attribute(attr="retry", value=ast.Name(id=name)):
                if scope.task and name == scope.bound:
                    given = {one.arg for one in node.keywords}
                    scope.task.retries |= "max_retries" not in given
