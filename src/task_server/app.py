"""
The project's Celery app with our defaults and steps: what `celery --app task_server.app` loads.

The project's own settings win over every default, and its code is not changed.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

from task_server import producer, results
from task_server.errors import ConfigError, Problem, TaskServerError
from task_server.launch.precedence import NUMBERS, with_project
from task_server.launch.spec import APP_VARIABLE, IMPORT_SECONDS, WORKER_VARIABLE, WorkerSpec
from task_server.project import celery_app
from task_server.project.defaults import connection_defaults, worker_defaults
from task_server.project.import_errors import explained
from task_server.project.import_watch import bounded
from task_server.results import groups, parents
from task_server.worker import secrets
from task_server.worker.install import install


def prepared(environ: Mapping[str, str]) -> Any:
    """
    Return the app that TASK_SERVER_APP names, ready for the process that *environ* describes.

    With TASK_SERVER_WORKER (the launcher's spec) that process is a worker;
    without, it is Flower or one of Celery's own commands.
    """
    name = environ.get(APP_VARIABLE)
    if not name:
        message = f"set {APP_VARIABLE} to the project's Celery app, as `task-server worker` does"
        raise ConfigError([Problem("app", message)])
    text = environ.get(WORKER_VARIABLE)
    if text is None:
        with bounded(name, IMPORT_SECONDS), explained(name, environ):
            app = celery_app.load_app(name)
            celery_app.apply_defaults(app, connection_defaults(app.conf.result_backend))
            producer.install(app)
        return app
    spec = WorkerSpec.from_json(text)
    # Before the project is imported, which may bind its tasks.
    celery_app.preset_defaults(worker_defaults(spec, None))
    if spec.result_store == "atomic":
        # Before the project is imported, which may look at a result.
        results.install()
        parents.install()
        groups.install()
    broker = environ.get("CELERY_BROKER_URL")
    with explained(name, environ):
        app = celery_app.load_app(name)
        celery_app.use_broker(app, broker=broker if "broker_url" in spec.origins else None)
        celery_app.check_urls(app)
        spec = with_project(spec, celery_app.own_settings(app, (*NUMBERS, "worker_pool")))
    backend = app.conf.result_backend
    shared = celery_app.shares_results(backend)
    celery_app.apply_defaults(app, worker_defaults(spec, backend, shared=shared))
    if not spec.secrets_in_environment:
        secrets.keep_apart(app, spec.origins)
    install(app, spec)
    # Tasks send tasks too.
    producer.install(app)
    return app


try:
    app = prepared(os.environ)
except TaskServerError as error:
    # Celery would print a traceback and exit with 2, which systemd restarts.
    print(f"Error: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code) from error
