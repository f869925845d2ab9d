"""Settings of Celery in a file: of Django, of an app's `conf`, of a class or a module."""

import ast
import re
from collections.abc import Iterator

from task_server.checks.static.literals import dotted
from task_server.checks.static.module import Module, Place, Setting

#: The settings that rules read, by Celery's names of today.
NAMES = frozenset(
    {"beat_schedule", "task_routes", "task_always_eager", "accept_content", "task_serializer"}
    | {"broker_url", "result_backend", "result_expires", "task_time_limit", "task_acks_late"}
    | {"task_soft_time_limit", "task_default_queue", "task_queues", "imports", "include"}
    | {"worker_send_task_events", "task_send_sent_event", "broker_transport_options"}
    | {"task_reject_on_worker_lost"}
)

#: Names of Celery 3, whole.
OLD = {
    "CELERYBEAT_SCHEDULE": "beat_schedule",
    "CELERY_ROUTES": "task_routes",
    "CELERY_ALWAYS_EAGER": "task_always_eager",
    "CELERYD_TASK_TIME_LIMIT": "task_time_limit",
    "CELERYD_TASK_SOFT_TIME_LIMIT": "task_soft_time_limit",
    "CELERY_DEFAULT_QUEUE": "task_default_queue",
    "CELERY_QUEUES": "task_queues",
    "CELERY_ACKS_LATE": "task_acks_late",
    "CELERY_TASK_RESULT_EXPIRES": "result_expires",
    "BROKER_URL": "broker_url",
    "CELERY_SEND_EVENTS": "worker_send_task_events",
}

#: Of Django, beside those of Celery.
DJANGO = frozenset({"INSTALLED_APPS", "DATABASES", "ATOMIC_REQUESTS"})

#: Modules whose settings are of tests or of one developer.
_ELSEWHERE = re.compile(
    r"(^|[._])(tests?|testing|testutils?|dev|devel|development|local|debug|ci|example|docs?|e2e)"
    r"([._]|$)|conftest"
)

_PREFIX = re.compile(r"[A-Z][A-Z0-9_]*?_")


def is_elsewhere(module: Module) -> bool:
    """Whether the settings in *module* are of tests or of development."""
    return _ELSEWHERE.search(module.name.lower()) is not None


def settings_of(tree: ast.Module, module: Module) -> list[Setting]:
    """Return the settings in *tree*, in order."""
    return list(_body(tree.body, module, plain=True, klass=""))


def celerys(written: str) -> str | None:
    """Return Celery's name of the setting *written* in a module, or None."""
    if written in OLD:
        return OLD[written]
    if written in DJANGO:
        return written
    match = _PREFIX.match(written)
    while match is not None:
        rest = written[match.end() :].lower()
        if rest in NAMES:
            # A setting of another thing may end so, but not begin with CELERY.
            return rest if "CELERY" in written[: match.end()] else None
        match = _PREFIX.match(written, match.end())
    return None


def _body(  # noqa: C901 - a kind of statement a case
    nodes: list[ast.stmt], module: Module, *, plain: bool, klass: str
) -> Iterator[Setting]:
    for node in nodes:
        match node:
            case ast.Assign(targets=[target], value=value):
                yield from _assigned(target, value, module, plain=plain, klass=klass)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                yield from _assigned(target, value, module, plain=plain, klass=klass)
            case ast.AugAssign(target=target, value=value):
                for one in _assigned(target, value, module, plain=plain, klass=klass):
                    one.partial = True
                    yield one
            case ast.Expr(value=ast.Call() as call):
                yield from _called(call, module, plain=plain)
            case ast.ClassDef():
                yield from _body(node.body, module, plain=plain, klass=node.name)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _body(node.body, module, plain=False, klass="")
            case ast.If() | ast.For() | ast.While() | ast.With() | ast.Try():
                for field in ("body", "orelse", "finalbody"):
                    yield from _body(getattr(node, field, []), module, plain=False, klass=klass)
                for handler in getattr(node, "handlers", []):
                    yield from _body(handler.body, module, plain=False, klass=klass)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            yield from _app(node.value, module, plain=plain)


def _assigned(
    target: ast.expr, value: ast.expr, module: Module, *, plain: bool, klass: str
) -> Iterator[Setting]:
    place = Place.of(module.path, target)
    match target:
        case ast.Name(id=written):
            name = celerys(written)
            lower = "celery" in klass.lower() or module.name.endswith(
                ("celeryconfig", "celery_config")
            )
            if name is None and lower and written in NAMES:
                name = written
            if name is not None:
                yield Setting(name, written, value, place, plain)
            elif written == "CELERY" and isinstance(value, ast.Dict):
                yield from _rows(value, module, plain=plain)
        case ast.Attribute(attr=attr) if attr in NAMES and ".conf." in f".{dotted(target)}":
            yield Setting(attr, attr, value, place, plain)
        case ast.Subscript(value=ast.Name() | ast.Attribute() as table, slice=key):
            written = dotted(table).rpartition(".")[2]
            name = celerys(written) or (written if written in NAMES else None)
            if name in ("beat_schedule", "task_routes"):
                one = ast.copy_location(ast.Dict(keys=[key], values=[value]), target)
                yield Setting(name, written, one, place, plain, partial=True)


def _rows(table: ast.Dict, module: Module, *, plain: bool) -> Iterator[Setting]:
    for key, value in zip(table.keys, table.values, strict=True):
        match key:
            case ast.Constant(value=str(name)) if name.lower() in NAMES:
                yield Setting(name.lower(), name, value, Place.of(module.path, key), plain)


def _called(call: ast.Call, module: Module, *, plain: bool) -> Iterator[Setting]:
    """Return what `conf.update(…)` and `BEAT_SCHEDULE.update({…})` set."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in ("update", "extend"):
        return
    owner = dotted(call.func.value)
    last = owner.rpartition(".")[2]
    if last == "conf":
        for word in call.keywords:
            if word.arg in NAMES:
                place = Place.of(module.path, word.value)
                yield Setting(word.arg, word.arg, word.value, place, plain)
        for argument in call.args:
            if isinstance(argument, ast.Dict):
                yield from _rows(argument, module, plain=plain)
        return
    name = celerys(last) or (last if last in NAMES else None)
    if name and call.args:
        place = Place.of(module.path, call)
        yield Setting(name, last, call.args[0], place, plain, partial=True)


def _app(call: ast.Call, module: Module, *, plain: bool) -> Iterator[Setting]:
    """Return what `Celery("shop", include=[…])` sets."""
    if not dotted(call.func).rpartition(".")[2].endswith("Celery"):
        return
    names = {"broker": "broker_url", "backend": "result_backend", "include": "include"}
    for word in call.keywords:
        if word.arg in names:
            place = Place.of(module.path, word.value)
            yield Setting(names[word.arg], word.arg, word.value, place, plain)
