"""
A project, imported: its queues, servers, schedule and storage.

    python -m task_server.local.survey.imported QUESTION

Connects to no server and sends nothing. The variables of *ours* lead nowhere; where a value of
theirs appears in the settings, that setting is read from the variable. One JSON object on
standard output; what the project prints goes to standard error.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from task_server.errors import TaskServerError
from task_server.local.discovery.brokers import Brokers
from task_server.local.discovery.databases import Databases
from task_server.local.discovery.environ import RecordingEnviron
from task_server.local.discovery.protocol import ENGINES, Endpoint, Question
from task_server.local.survey.facts import Beat, Project, Queue, Server
from task_server.project import celery_app, queues
from task_server.project.import_errors import explained
from task_server.project.import_watch import bounded


def main(question: Question, output: int) -> None:
    """Write what was found to the file descriptor *output*, and end the process."""

    def write(text: str) -> None:
        os.write(output, f"{text}\n".encode())
        # The project may have started threads.
        os._exit(0)

    def fail(error: TaskServerError) -> None:
        write(json.dumps({"error": str(error), "code": error.exit_code}))

    RecordingEnviron.install(question.ours)
    try:
        with bounded(question.app, question.seconds, fail), explained(question.app, os.environ):
            app = celery_app.load_app(question.app)
            app.loader.import_default_modules()
            app.finalize()
            found = _project(app, question)
        write(found.to_json())
    except TaskServerError as error:
        fail(error)


def _project(app: Any, question: Question) -> Project:
    settings = queues.django_settings()
    named = queues.declared(app)
    seen = [one for one in queues.seen(question.app, settings) if one.queue not in named]
    tasks = [name for name in app.tasks if not name.startswith("celery.")]
    return Project(
        queues=(
            *(Queue(name, by[0]) for name, by in named.items()),
            *(Queue(one.queue, one.where) for one in seen if one.certain),
        ),
        perhaps=tuple(Queue(one.queue, one.where) for one in seen if not one.certain),
        servers=tuple(_servers(app, question, settings)),
        beat=_beat(app),
        pool=str(celery_app.own_settings(app, ["worker_pool"]).get("worker_pool") or ""),
        media=str(getattr(settings, "MEDIA_ROOT", "") or ""),
        storage=_storage(settings),
        tasks=len(tasks),
        settings=os.environ.get("DJANGO_SETTINGS_MODULE", ""),
    )


def _servers(app: Any, question: Question, settings: Any) -> Iterator[Server]:
    ours = frozenset(RecordingEnviron.ours)
    read = RecordingEnviron.read()
    brokers = Brokers(app, question, ours)
    for name in ours:
        os.environ.pop(name, None)
    for url, endpoint in brokers.brokers():
        yield _server("broker", url, endpoint, ours)
    results = brokers.results()
    if results is not None:
        yield _server("results", results[0], results[1], ours)
    if settings is None:
        return
    for one in Databases(question, ours, read).all():
        kind = one.engine.rpartition(".")[2]
        known = ENGINES.get(kind, kind)
        url = "" if one.variables else one.where
        setting = f"DATABASES[{one.alias!r}]"
        yield Server(f"database {one.alias}", known, url, setting, one.variables)


def _server(role: str, url: str, endpoint: Endpoint, ours: frozenset[str]) -> Server:
    kind = url.partition("://")[0].partition("+")[0]
    given = endpoint.variable or (endpoint.setting if endpoint.setting in os.environ else "")
    kind = "redis" if kind in ("redis", "rediss", "unix", "socket", "sentinel") else kind
    if given in ours:
        # The address is ours, and leads nowhere.
        return Server(role, kind, "", endpoint.setting, (given,))
    return Server(role, kind, endpoint.url, endpoint.setting, (given,) if given else ())


def _beat(app: Any) -> Beat:
    schedule = app.conf.beat_schedule
    entries = len(schedule) if isinstance(schedule, Mapping) else 0
    own = celery_app.own_settings(app, ["beat_scheduler"])
    written = f"{app.namespace}_beat_schedule".upper() if app.namespace else "beat_schedule"
    scheduler = str(own.get("beat_scheduler") or "")
    if not scheduler and "django_celery_beat" in sys.modules:
        scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
    return Beat(entries, written if entries else "", scheduler)


def _storage(settings: Any) -> str:
    """Return the class of the default storage, of Django's settings."""
    storages = getattr(settings, "STORAGES", None)
    default = storages.get("default") if isinstance(storages, Mapping) else None
    backend = default.get("BACKEND") if isinstance(default, Mapping) else None
    return str(backend or getattr(settings, "DEFAULT_FILE_STORAGE", "") or "")


if __name__ == "__main__":
    stdout = os.dup(1)
    os.dup2(2, 1)
    main(Question.from_json(sys.argv[1]), stdout)
