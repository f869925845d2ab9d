"""The queues of an app that Celery itself knows."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from task_server.project.queues.source import Seen


def declared(app: Any) -> dict[str, list[str]]:
    """
    Return what names each queue, by queue; the tasks of *app* must have been imported.

    An empty name and `*` are no queues: projects write them for "none" and "any".
    """
    found: dict[str, list[str]] = {}
    for queue, who in _named(app):
        if queue not in ("", "*"):
            found.setdefault(queue, []).append(who)
    return found


def every(app: Any, seen: Iterable[Seen]) -> tuple[str, ...]:
    """Return the queues of *app*: the declared, and those of *seen* that tasks are sent to."""
    found = dict.fromkeys(declared(app))
    found.update(dict.fromkeys(one.queue for one in seen if one.certain))
    return tuple(found)


def _named(app: Any) -> Iterator[tuple[str, str]]:
    yield str(app.conf.task_default_queue), "task_default_queue"
    for pattern, queue in route_table(app.conf.task_routes):
        yield queue, f"task_routes[{pattern!r}]"
    # Before the tasks, since asking the router declares missing queues.
    for queue in _names(app.conf.task_queues):
        yield queue, "task_queues"
    for name, entry in _rows(app.conf.beat_schedule):
        options = entry.get("options") if isinstance(entry, Mapping) else None
        if isinstance(options, Mapping) and options.get("queue"):
            yield _name(options["queue"]), f"beat_schedule[{name!r}]"
    for name, task in sorted(app.tasks.items()):
        goes_to = None if name.startswith("celery.") else queue_of(app, task)
        if goes_to is not None:
            yield goes_to, f"the task {name}"


def _names(queues: Any) -> Iterator[str]:
    """Return the names in `task_queues`: Kombu's queues, names, or a table of them."""
    if isinstance(queues, Iterable) and not isinstance(queues, str | bytes):
        for queue in queues:
            yield _name(queue)


def _name(queue: Any) -> str:
    return str(getattr(queue, "name", queue))


def _rows(table: Any) -> Iterable[tuple[Any, Any]]:
    return table.items() if isinstance(table, Mapping) else ()


def route_table(given: Any) -> Iterator[tuple[str, str]]:
    """Return pattern and queue of each route that `task_routes` spells out."""
    tables = given if isinstance(given, list | tuple) else [given]
    for table in tables:
        rows = table.items() if isinstance(table, Mapping) else table
        if not isinstance(rows, list | tuple) and not isinstance(table, Mapping):
            continue  # a function, or the name of one: `queue_of` calls it
        for row in rows:
            if not isinstance(row, tuple | list) or len(row) != 2:  # noqa: PLR2004 - a pair
                continue
            pattern, route = row
            queue = route.get("queue") if isinstance(route, Mapping) else route
            if queue is not None:
                yield str(getattr(pattern, "pattern", pattern)), _name(queue)


def queue_of(app: Any, task: Any) -> str | None:
    """Return the queue that a call of *task* without arguments goes to, if known."""
    given = {"queue": task.queue} if getattr(task, "queue", None) else {}
    try:
        route = app.amqp.router.route(given, task.name, (), {}, task_type=task)
    except Exception:  # noqa: BLE001 - a project's own router may want the arguments of a call
        return None
    queue = route.get("queue")
    return None if queue is None else _name(queue)


def django_settings() -> Any:
    """Return Django's settings, if the project has configured them."""
    if "django.conf" not in sys.modules:
        return None
    from django.conf import settings  # noqa: PLC0415 - not every project uses Django

    return settings if settings.configured else None


def excluded(arguments: Sequence[str]) -> list[str]:
    """Return the names that `--exclude-queues` of *arguments* (of `celery worker`) leaves out."""
    found: list[str] = []
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in ("-X", "--exclude-queues"):
            value = value if equals else "".join(arguments[number + 1 : number + 2])
            found.extend(one.strip() for one in value.split(","))
    return found
