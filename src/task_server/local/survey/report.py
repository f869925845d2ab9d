"""What was found, a line each with where it was found: what `init` says in the terminal."""

from collections.abc import Iterator

from task_server.local.survey.document import described, storage
from task_server.local.survey.facts import Project, Survey
from task_server.local.survey.workers import BY_DEFAULT, divide, named, shortened


def report(survey: Survey) -> Iterator[str]:
    """Return the lines."""
    yield f"app: {survey.app}, found by {survey.how}" if survey.how else f"app: {survey.app}"
    if survey.failure:
        yield f"not imported, so read as text: {survey.failure}"
    yield from _start(survey)
    yield from _servers(survey.project)
    yield from _queues(survey)
    if survey.project.keeps_files:
        yield f"files: {storage(survey)}"
    yield from _requirements(survey)


def _start(survey: Survey) -> Iterator[str]:
    if survey.code:
        yield f"code: {survey.code}, put on PYTHONPATH"
    settings = survey.settings_module or survey.project.settings
    if settings:
        how = survey.settings_how if survey.settings_module else "the app itself"
        yield f"settings: {settings}, named by {how}"
    if survey.setup:
        yield f"setup: {survey.setup}() before the app is imported"
    for note in survey.notes:
        yield f"note: {note}"


def _servers(project: Project) -> Iterator[str]:
    for one in project.servers:
        url = f" ({one.url})" if one.url else ""
        yield f"{one.role}: {described(one)}{url}"
    if not any(one.role == "broker" for one in project.servers):
        yield "broker: none is named; `task-server up` starts a Redis"
    beat = project.beat
    if beat.in_database:
        yield "schedule: in the database, by django-celery-beat"
    elif beat.entries:
        count = "1 entry" if beat.entries == 1 else f"{beat.entries} entries"
        yield f"schedule: {count} of {beat.setting}"


def _requirements(survey: Survey) -> Iterator[str]:
    if survey.manager:
        yield f"requirements: {survey.manager.name}, by {survey.manager.file}"
    missing = [one for one in ("gevent", "flower") if one not in survey.installed]
    if missing:
        wanted = f"'task-server[{','.join(missing)}]'"
        add = survey.manager.add if survey.manager else "pip install {}"
        yield f"not installed: {' and '.join(missing)}; {add.format(wanted)}"


def _queues(survey: Survey) -> Iterator[str]:
    project = survey.project
    division = divide(project)
    every = named(project.queues)
    count = f"{len(every)} queue{'' if len(every) == 1 else 's'}"
    tasks = "" if project.tasks is None else f" of {project.tasks} tasks"
    yield f"queues: {count}{tasks}: {shortened(every)}"
    for one in project.queues[:6]:
        yield f"  {one.name}: by {one.by}"
    if division.everything:
        yield f"gevent: all queues; {division.reason}"
        return
    green = shortened(division.network) or f"{BY_DEFAULT}, which nothing is sent to yet"
    yield f"gevent: {green}; {division.reason}"
    yield "prefork: all other queues, those that are added later too"
    if project.perhaps:
        names = shortened(named(project.perhaps))
        yield f"perhaps queues, too: {names} (by {project.perhaps[0].by})"
