"""The metrics, as `task-server metrics` becomes them: `python -m task_server.metrics`."""

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from task_server.errors import TaskServerError
from task_server.launch import early_stop
from task_server.launch.metrics_spec import METRICS_VARIABLE, MetricsSpec
from task_server.launch.spec import APP_VARIABLE
from task_server.project.import_errors import explained
from task_server.project.import_watch import bounded


def main(environ: Mapping[str, str]) -> None:
    """
    Serve the metrics of the project that *environ* names, until a signal ends it.

    Raises:
        TaskServerError: When it cannot; with its exit code.
    """
    spec = MetricsSpec.from_json(environ[METRICS_VARIABLE])
    name = environ[APP_VARIABLE]

    from task_server.metrics import service  # noqa: PLC0415 - imports Celery's clients
    from task_server.worker.status.systemd import Notifier  # noqa: PLC0415

    notifier = Notifier(os.environ)
    with bounded(name, spec.import_seconds), explained(name, environ):
        pages = service.pages(_load(name, spec, environ), spec, name)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    service.run(service.listen(spec, pages), notifier)


def _load(name: str, spec: MetricsSpec, environ: Mapping[str, str]) -> Any:
    """Return the project's app, which knows its broker."""
    from task_server.project import celery_app  # noqa: PLC0415
    from task_server.project.defaults import connection_defaults  # noqa: PLC0415

    app = celery_app.load_app(name)
    broker = environ.get("CELERY_BROKER_URL") if spec.uses_broker else None
    celery_app.use_broker(app, broker=broker)
    celery_app.check_urls(app)
    celery_app.apply_defaults(app, connection_defaults(app.conf.result_backend))
    return app


if __name__ == "__main__":
    early_stop.ignore_signals_at_exit()
    early_stop.install()
    # The launcher blocked them before exec.
    early_stop.unblock()
    try:
        main(os.environ)
    except TaskServerError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
