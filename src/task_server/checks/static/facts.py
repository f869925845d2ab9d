"""What the source says -> ProjectFacts, so that rules of the ordinary check judge it too."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from task_server.checks.facts import ProjectFacts, TaskFacts
from task_server.checks.static.literals import UNKNOWN, Items, Period, Table
from task_server.checks.static.module import Module, Place
from task_server.checks.static.names import Project
from task_server.checks.static.settings import is_elsewhere
from task_server.checks.static.tables import rows
from task_server.project.queues import Seen

#: Where a value is a table of which rules read single keys.
OPTIONS = "broker_transport_options"

DEFAULT_QUEUE = "celery"


@dataclass(slots=True)
class Stated:
    """
    The facts, and where the source states each.

    *settings* are places by Celery's names, *queues* those that a queue is named at, and
    whether Celery itself knows the queue from there.
    """

    facts: ProjectFacts
    settings: dict[str, Place]
    queues: dict[str, list[tuple[Place, bool]]] = field(default_factory=dict)


def stated(project: Project) -> Stated:
    """Return what the source certainly says of settings, tasks and queues."""
    values: dict[str, Any] = {}
    own: dict[str, str] = {}
    places: dict[str, Place] = {}
    for name, value, written, place in _settings(project):
        if name == OPTIONS and isinstance(value, dict):
            for key, one in value.items():
                values[f"{name}.{key}"] = one
                own[f"{name}.{key}"], places[f"{name}.{key}"] = f"{written}[{key!r}]", place
            continue
        values[name], own[name], places[name] = value, written, place
    queues = _queues(project, values.get("task_default_queue", DEFAULT_QUEUE))
    files = {written: places[name].path for name, written in own.items()}
    facts = ProjectFacts(
        values={"task_default_queue": DEFAULT_QUEUE, **values},
        own=own,
        origin=lambda written: next(
            (path for one, path in files.items() if one.partition("[")[0] == written), ""
        ),
        tasks=tuple(_tasks(project)),
        named={
            name: [f"{place.path}:{place.line}" for place, known in found if known]
            for name, found in queues.items()
            if any(known for _, known in found)
        },
        seen=tuple(
            Seen(name, f"{place.path}:{place.line}", certain=True)
            for name, found in queues.items()
            for place, known in found
            if not known
        ),
    )
    return Stated(facts, places, queues)


def _settings(project: Project) -> Iterator[tuple[str, Any, str, Place]]:
    """Return the settings that have one value, wherever they are set but for tests."""
    found: dict[str, list[tuple[Any, str, Place]]] = {}
    for module in project.modules:
        if is_elsewhere(module):
            continue
        for one in module.settings:
            value = UNKNOWN if one.partial else plain(project.value(module, one.value))
            known = value if one.plain or value is UNKNOWN else UNKNOWN
            found.setdefault(one.name, []).append((known, one.written, one.place))
    for name, several in found.items():
        value, written, place = several[-1]
        if all(_same(one, value) for one, _, _ in several) and value is not UNKNOWN:
            yield name, value, written, place


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def plain(value: Any) -> Any:
    """Return *value* as Celery gets it, or UNKNOWN if a part of it is not known."""
    if isinstance(value, Period):
        return value.seconds
    if isinstance(value, Items):
        several = [plain(one) for one in value.values]
        return several if value.complete and UNKNOWN not in several else UNKNOWN
    if isinstance(value, Table):
        keyed = {row.key: plain(row.value) for row in value.rows if isinstance(row.key, str | int)}
        return keyed if value.complete and UNKNOWN not in keyed.values() else UNKNOWN
    return value if isinstance(value, str | int | float | bool | None) else UNKNOWN


def _tasks(project: Project) -> Iterator[TaskFacts]:
    for module, task in project.tasks():
        limit = project.option(module, task, "time_limit")
        if task.name is not None and isinstance(limit, int | float):
            yield TaskFacts(name=task.name, time_limit=float(limit))


def _queues(project: Project, default: Any) -> dict[str, list[tuple[Place, bool]]]:
    """Return where each queue is named, and whether Celery knows it from there."""
    found: dict[str, list[tuple[Place, bool]]] = {}
    for queue, place, known in _named(project):
        if isinstance(queue, str) and queue not in ("", "*"):
            found.setdefault(queue, []).append((place, known))
    if isinstance(default, str):
        found.setdefault(default, [])
    return found


def _named(project: Project) -> Iterator[tuple[Any, Place, bool]]:
    for _, row, place in rows(project, "task_routes"):
        route = row.value
        yield (route.get("queue") if isinstance(route, Table) else route), place, True
    for _, row, place in rows(project, "beat_schedule"):
        options = row.value.get("options") if isinstance(row.value, Table) else None
        yield (options.get("queue") if isinstance(options, Table) else None), place, True
    for module in project.modules:
        yield from _of_module(project, module)


def _of_module(project: Project, module: Module) -> Iterator[tuple[Any, Place, bool]]:
    for setting in module.settings:
        if setting.name in ("task_queues", "task_default_queue") and not is_elsewhere(module):
            value = project.value(module, setting.value)
            several = value.values if isinstance(value, Items) else (value,)
            if isinstance(value, Table):
                several = tuple(row.key for row in value.rows)
            for one in several:
                yield one, setting.place, True
    for task in module.tasks:
        if "queue" in task.options:
            yield project.value(module, task.options["queue"]), task.place, True
    for node, place in module.queues:
        yield project.value(module, node), place, False
