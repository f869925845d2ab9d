"""
The project's Celery app with our defaults and steps: what `celery --app task_server.app` loads.

The project's own settings win over every default, and its code is not changed.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from task_server.errors import ConfigError, Problem, TaskServerError
from task_server.launch.machine import this_machine
from task_server.launch.precedence import NUMBERS, settled
from task_server.launch.spec import APP_VARIABLE, IMPORT_SECONDS, WORKER_VARIABLE, Decision
from task_server.project import celery_app as project
from task_server.project.defaults import connection_defaults, worker_defaults
from task_server.project.import_errors import bounded, explained
from task_server.worker import secrets
from task_server.worker.install import install


def prepared(environ: Mapping[str, str]) -> Any:
    """
    Return the app that TASK_SERVER_APP names, ready for the process that *environ* describes.

    With TASK_SERVER_WORKER (the launcher's decision) that process is a worker;
    without, it is Flower or one of Celery's own commands.
    """
    name = environ.get(APP_VARIABLE)
    if not name:
        message = f"set {APP_VARIABLE} to the project's Celery app, as `task-server worker` does"
        raise ConfigError([Problem("app", message)])
    frozen = environ.get(WORKER_VARIABLE)
    if frozen is None:
        with bounded(name, IMPORT_SECONDS), explained(name, environ):
            app = project.find(name)
            project.apply(app, connection_defaults(app.conf.result_backend))
        return app
    decided = Decision.thaw(frozen)
    # Before the project is imported, which may bind its tasks.
    project.foresee(worker_defaults(decided, None))
    broker = environ.get("CELERY_BROKER_URL")
    with explained(name, environ):
        app = project.find(name)
        project.reach(app, broker=broker if "broker_url" in decided.said else None)
        project.look_at_urls(app)
        decision = settled(decided, project.own(app, (*NUMBERS, "worker_pool")), this_machine())
    backend = app.conf.result_backend
    shared = project.shares_results(backend)
    project.apply(app, worker_defaults(decision, backend, shared=shared))
    if not decision.secrets_in_environment:
        secrets.keep_apart(app, decision.said)
    install(app, decision.worker, Path(decision.runtime_dir), decision.timing)
    return app


try:
    app = prepared(os.environ)
except TaskServerError as error:
    # Celery would print a traceback and exit with 2, which systemd restarts.
    print(f"Error: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code) from error
