"""Entries of the schedule: their tasks exist, and are done before the next is due."""

from collections.abc import Iterator
from typing import Any

from task_server.checks.static.findings import At, found
from task_server.checks.static.literals import Period, Reference, Table
from task_server.checks.static.module import Place
from task_server.checks.static.names import Project
from task_server.checks.static.registered import Registered
from task_server.checks.static.tables import rows


def unknown(project: Project) -> Iterator[At]:
    """Find entries that name no task of the project."""
    registered = Registered(project)
    for module in project.modules:
        for _, send in module.periodic:
            why = registered.why_not(send.name) if send.name is not None else ""
            if why:
                yield _no_task(send.place, "of add_periodic_task", str(send.name), why, registered)
    for _, row, place in rows(project, "beat_schedule"):
        name = row.value.get("task") if isinstance(row.value, Table) else None
        why = registered.why_not(name) if isinstance(name, str) else ""
        if why:
            yield _no_task(place, repr(row.key), str(name), why, registered)


def _no_task(place: Place, entry: str, name: str, why: str, registered: Registered) -> At:
    return found(
        "beat-unknown-task",
        "error",
        place,
        f"the entry {entry} sends {name!r}, which is no task: {why}; workers reject each message "
        "of it",
        registered.near(name) or "correct its name, or remove the entry",
    )


def short(project: Project) -> Iterator[At]:
    """Find entries that are due again before their task's own time limit."""
    tasks = {task.name: (module, task) for module, task in project.tasks() if task.name}
    yield from _added(project)
    for _, row, place in rows(project, "beat_schedule"):
        if not isinstance(row.value, Table):
            continue
        name, period = row.value.get("task"), _seconds(row.value.get("schedule"))
        if isinstance(name, Reference):
            task = project.task(name.dotted.removesuffix(".name"))
            name = task.name if task is not None else None
        if period is None or name not in tasks or _expires(row.value):
            continue
        module, task = tasks[name]
        limit = _seconds(project.option(module, task, "time_limit"))
        if limit is not None and 0 < period < limit:
            yield _too_short(place, str(row.key), str(name), period, limit)


def _added(project: Project) -> Iterator[At]:
    """Find calls of `add_periodic_task` that are due again before the task's own time limit."""
    homes = {id(task): module for module, task in project.tasks()}
    for home in project.modules:
        for schedule, send in home.periodic:
            period = _seconds(project.value(home, schedule))
            for task in project.sent(send) if period is not None else ():
                limit = _seconds(project.option(homes[id(task)], task, "time_limit"))
                if limit is not None and period is not None and 0 < period < limit:
                    yield _too_short(send.place, task.variable, task.variable, period, limit)


def _too_short(place: Place, entry: str, name: str, period: float, limit: float) -> At:
    return found(
        "beat-period-below-time-limit",
        "warning",
        place,
        f"the entry {entry!r} sends {name} every {period:g} s, and a run of it may take "
        f"{limit:g} s (time_limit): runs overlap, or pile up in the queue",
        f"give the entry options with expires = {period:g}, lower the limit, or have the "
        "task skip a run while another holds a lock",
    )


def _seconds(value: Any) -> float | None:
    if isinstance(value, Period):
        return value.seconds
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def _expires(entry: Table) -> bool:
    """Whether a message of *entry* may expire, or that cannot be told."""
    options = entry.get("options")
    if options is None:
        return False
    return not isinstance(options, Table) or options.get("expires") is not None
