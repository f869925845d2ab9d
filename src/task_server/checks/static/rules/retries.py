"""Options of tasks: retries that never end or all come at once, limits that contradict."""

from collections.abc import Iterator
from typing import Any

from task_server.checks.static.findings import At, found
from task_server.checks.static.literals import UNKNOWN, Items, Table
from task_server.checks.static.module import Module, Task
from task_server.checks.static.names import Project


def endless(project: Project) -> Iterator[At]:
    """Find tasks that are retried for ever."""
    for module, task in project.tasks():
        own = "max_retries" in task.options and _of(project, module, task, "max_retries") is None
        table = _of(project, module, task, "retry_kwargs")
        automatic = _is_automatic(project, module, task)
        by_table = isinstance(table, Table) and any(
            row.key == "max_retries" and row.value is None for row in table.rows
        )
        if (own and (automatic or task.retries)) or (by_table and automatic):
            yield found(
                "retry-without-end",
                "warning",
                task.place,
                f"{task.variable} has max_retries=None: a task that cannot succeed is retried "
                "for ever, and each adds to the queue",
                "give max_retries a number, or raise celery.exceptions.Reject when it is too late",
            )


def steady(project: Project) -> Iterator[At]:
    """Find automatic retries that all wait for the same time."""
    for module, task in project.tasks():
        table = _of(project, module, task, "retry_kwargs")
        if not _is_automatic(project, module, task) or not (table is None or _plain(table)):
            continue
        delays = [_of(project, module, task, "retry_backoff"), *_delays(project, module, task)]
        if UNKNOWN not in delays and not any(delays):
            yield found(
                "retry-without-backoff",
                "info",
                task.place,
                f"{task.variable} has autoretry_for without retry_backoff: each retry comes "
                "180 s after the failure, and those of an outage come back together",
                "add retry_backoff=True (its jitter is on)",
            )


def limits(project: Project) -> Iterator[At]:
    """Find soft time limits that are never reached."""
    for module, task in project.tasks():
        soft, hard = (
            _of(project, module, task, name) for name in ("soft_time_limit", "time_limit")
        )
        if _is_number(soft) and _is_number(hard) and 0 < hard <= soft:
            yield found(
                "soft-limit-above-time-limit",
                "warning",
                task.place,
                f"{task.variable} has soft_time_limit={soft:g}, not below time_limit={hard:g}: it "
                "is killed before it can clean up",
                "set soft_time_limit below time_limit",
            )


def _of(project: Project, module: Module, task: Task, name: str) -> Any:
    if task.is_class and name in task.options:
        return project.value(module, task.options[name])
    return project.option(module, task, name)


def _is_automatic(project: Project, module: Module, task: Task) -> bool:
    """Whether *task* itself certainly names exceptions after which it is retried."""
    value = _of(project, module, task, "autoretry_for")
    if "autoretry_for" not in task.options:
        return False
    return not (isinstance(value, Items) and not value.values) and value is not None


def _delays(project: Project, module: Module, task: Task) -> Iterator[Any]:
    yield _of(project, module, task, "default_retry_delay")
    table = _of(project, module, task, "retry_kwargs")
    if isinstance(table, Table):
        yield from (row.value for row in table.rows if row.key in ("countdown", "eta"))


def _plain(table: Any) -> bool:
    return isinstance(table, Table) and table.complete


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
