"""Calls of tasks where they do not work: in a transaction, and waited for in a task."""

from collections.abc import Iterator

from task_server.checks.static.findings import At, found
from task_server.checks.static.literals import Table
from task_server.checks.static.module import Send
from task_server.checks.static.names import Project
from task_server.checks.static.settings import is_elsewhere


def inside_transaction(project: Project) -> Iterator[At]:
    """Find calls of tasks that a worker may see before what they are about is committed."""
    if any(project.sends_itself(one) for module in project.modules for one in module.task_classes):
        return
    in_views = _atomic_requests(project)
    for send in _sends(project):
        if send.waits or send.later or not (send.atomic or (send.view and in_views)):
            continue
        name = _name(project, send)
        if not name:
            continue
        if send.atomic:
            yield found(
                "delay-inside-transaction",
                "warning",
                send.place,
                f"{name}.{send.method}() is called in the transaction of line {send.atomic}: a "
                "worker may run the task before the commit, and runs it even after a rollback",
                "send it in transaction.on_commit(lambda: …), or with delay_on_commit",
            )
        else:
            yield found(
                "delay-inside-transaction",
                "info",
                send.place,
                f"{name}.{send.method}() is called in a view, and ATOMIC_REQUESTS makes each a "
                "transaction: a worker may run the task before the commit",
                "send it in transaction.on_commit(lambda: …), or with delay_on_commit",
            )


def waiting(project: Project) -> Iterator[At]:
    """Find tasks that wait for the result of another task."""
    for send in _sends(project):
        name = _name(project, send) if send.waits else ""
        if name and send.in_task is not None:
            yield found(
                "result-get-inside-task",
                "warning",
                send.place,
                f"the task {send.in_task.variable} waits for the result of {name}: a prefork "
                "worker raises RuntimeError, and elsewhere all places may wait for each other",
                "join them with chain, group or chord, or call the function itself",
            )


def _sends(project: Project) -> Iterator[Send]:
    for module in project.modules:
        yield from module.sends


def _name(project: Project, send: Send) -> str:
    """Return what *send* certainly sends, for people; empty if it may be no task."""
    if send.canvas:
        return "a canvas"
    if send.method == "send_task":
        owner = send.receiver.rpartition(".")[2]
        return owner if "app" in owner.lower() or "celery" in owner.lower() else ""
    tasks = project.sent(send)
    if not tasks or any(_sends_later(project, task.base) for task in tasks):
        return ""
    return tasks[0].variable


def _sends_later(project: Project, base: str) -> bool:
    """Whether the class *base* of a task may wait for the commit by itself."""
    return bool(base) and project.sends_itself(base)


def _atomic_requests(project: Project) -> bool:
    """Whether the settings certainly make each request a transaction."""
    for module in project.modules:
        if is_elsewhere(module):
            continue
        for setting in module.settings:
            value = project.value(module, setting.value) if setting.plain else None
            if setting.name == "ATOMIC_REQUESTS" and value is True:
                return True
            if setting.name == "DATABASES" and isinstance(value, Table):
                default = value.get("default")
                if isinstance(default, Table) and default.get("ATOMIC_REQUESTS") is True:
                    return True
    return False
