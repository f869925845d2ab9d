"""
The servers that a project's settings name.

    python -m task_server.local.discovery.project QUESTION

`task-server up` runs this with our variables (REDIS_URL, DATABASE_URL …) set to
servers that need not run yet, and it imports the project as a worker does. Where
one of our values appears in the settings, or the code reads the variable, the
project gets that server from us; every other server is its own, and is tried.

One JSON object on standard output; what the project prints goes to standard error.
"""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from task_server.errors import TaskServerError
from task_server.local.discovery.brokers import BROKER, RESULTS, Brokers
from task_server.local.discovery.code import code_of
from task_server.local.discovery.databases import Databases, try_database
from task_server.local.discovery.environ import RecordingEnviron
from task_server.local.discovery.features import features_of
from task_server.local.discovery.protocol import Answer, Failure, Question, preset
from task_server.project import celery_app
from task_server.project.import_errors import explained
from task_server.project.import_watch import bounded


def main(question: Question, output: int) -> None:
    """Write the answer to the file descriptor *output*, and end the process."""

    def write(fields: Mapping[str, Any]) -> None:
        os.write(output, f"{json.dumps(fields)}\n".encode())
        # The project may have started threads.
        os._exit(0)

    def fail(error: TaskServerError) -> None:
        failure = Failure(
            error=str(error),
            code=error.exit_code,
            read=RecordingEnviron.read(),
            preset=preset(os.environ),
        )
        write(failure.to_dict())

    RecordingEnviron.install(question.ours)
    try:
        with bounded(question.app, question.seconds, fail), explained(question.app, os.environ):
            app = celery_app.load_app(question.app)
            app.loader.import_default_modules()
            discovery = _Discovery(app, question)
        write(discovery.answer().to_dict())
    except TaskServerError as error:
        fail(error)


class _Discovery:
    """
    The servers of *app*, which is imported.

    Our variables are removed from the environment again, so that the project's own
    servers are reached as without us.
    """

    def __init__(self, app: Any, question: Question) -> None:
        ours = frozenset(RecordingEnviron.ours)
        self._read = RecordingEnviron.read()
        self._app = app
        self._django = _has_settings()
        self._brokers = Brokers(app, question, ours)
        self._databases = Databases(question, ours, self._read)
        for name in ours:
            os.environ.pop(name, None)

    def answer(self) -> Answer:
        """Return the servers, after an attempt to connect to each."""
        brokers = dict(self._brokers.brokers())
        results = self._brokers.results()
        databases = tuple(self._databases.all()) if self._django else ()
        attempts = [
            *(self._brokers.try_broker(url, broker) for url, broker in brokers.items()),
            *([self._brokers.try_results(*results)] if results else []),
            *(try_database(database) for database in databases),
        ]
        return Answer(
            django=self._django,
            brokers=tuple(brokers.values()),
            results=results[1] if results else None,
            databases=databases,
            # Celery, not the code, reads these two.
            read=tuple(name for name in self._read if name not in (BROKER, RESULTS)),
            dotenv="dotenv" in sys.modules,
            preset=preset(os.environ),
            features=features_of(self._app),
            code=code_of(dict(sys.modules)),
            media=_media() if self._django else "",
            unusable=tuple(one for attempt in attempts for one in attempt),
        )


def _has_settings() -> bool:
    module = sys.modules.get("django.conf")
    return module is not None and module.settings.configured


def _media() -> str:
    from django.conf import settings  # noqa: PLC0415 - the project has it

    return str(settings.MEDIA_ROOT or "")


if __name__ == "__main__":
    stdout = os.dup(1)
    os.dup2(2, 1)
    main(Question.from_json(sys.argv[1]), stdout)
