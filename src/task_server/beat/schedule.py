"""The project's schedule, without the entries that nothing can be done with."""

import pickle
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from celery.beat import ScheduleEntry
from celery.schedules import BaseSchedule

from task_server.config.values import shown


def usable_entries(app: Any, *, stored: bool) -> tuple[dict[str, Any], list[str]]:
    """
    Return the entries of `beat_schedule` that can be run, and a line for each that is wrong.

    An entry whose task the project does not register is run: another project may.

    Args:
        stored: Whether the scheduler pickles them.
    """
    schedule = app.conf.beat_schedule
    if not isinstance(schedule, Mapping):
        kind = type(schedule).__name__
        return {}, [f"beat_schedule is no dictionary but of the type {kind}; nothing of it is sent"]
    good: dict[str, Any] = {}
    lines: list[str] = []
    for name, entry in schedule.items():
        fault = _fault(app, name, entry, stored=stored)
        if fault is None:
            good[name] = entry
            lines.extend(_doubts(app, name, entry))
        else:
            lines.append(f"the entry {name!r} is left out: {fault}")
    return good, lines


def _fault(app: Any, name: Any, entry: Any, *, stored: bool) -> str | None:
    """Return why the entry cannot be run; None if it can."""
    if not isinstance(name, str):
        return "its name is no text"
    try:
        wrong = _schedule_fault(entry)
        if wrong is not None:
            return wrong
        made = entry if isinstance(entry, ScheduleEntry) else _made(app, name, entry)
        if not isinstance(made.task, str) or not made.task:
            return "it names no task"
        if made.schedule is None:
            return "it has no schedule"
        made.app = app
        made.is_due()
        if stored:
            pickle.dumps(made)
    except Exception as error:  # noqa: BLE001 - schedules of the project's own raise what they like
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[0] if lines else '-'}"
    return None


def _schedule_fault(entry: Any) -> str | None:
    """Return what is wrong with the entry's schedule, which Celery finds out when it is due."""
    if isinstance(entry, ScheduleEntry):
        return None
    if not isinstance(entry, Mapping):
        return f"it is no dictionary but of the type {type(entry).__name__}"
    given = entry.get("schedule")
    if given is None:
        return "it has no schedule"
    if isinstance(given, int | float | timedelta | BaseSchedule) or callable(given):
        return None
    return f"its schedule {shown(given)} is neither a number of seconds nor one of Celery's"


def _made(app: Any, name: str, entry: Any) -> ScheduleEntry:
    return ScheduleEntry(**{**dict(entry), "name": name, "app": app})


def _doubts(app: Any, name: str, entry: Any) -> Iterator[str]:
    task = entry.task if isinstance(entry, ScheduleEntry) else entry["task"]
    if task not in app.tasks:
        yield (
            f"the entry {name!r} names the task {task!r}, which this project does not register; "
            "it is sent all the same"
        )
