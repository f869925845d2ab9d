"""
Beat, as `task-server beat` becomes it: `python -m task_server.beat`.

Celery's own schedulers in a loop of ours, which holds a lock in Redis.
"""

import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

from task_server.errors import ConfigError, Finding, Problem, TaskServerError
from task_server.launch import early_stop
from task_server.launch.beat_spec import BEAT_VARIABLE, BeatSpec
from task_server.launch.services.beat import STOP_SECONDS
from task_server.launch.spec import APP_VARIABLE
from task_server.project.import_errors import explained
from task_server.project.import_watch import bounded

#: As in Celery's own beat: a send that waits for longer fails. Seconds.
SOCKET_SECONDS = 30.0


def main(environ: Mapping[str, str]) -> None:
    """
    Send the periodic tasks of the project that *environ* names, until a signal ends it.

    Raises:
        TaskServerError: When it cannot; with its exit code.
    """
    spec = BeatSpec.from_json(environ[BEAT_VARIABLE])
    name = environ[APP_VARIABLE]

    from task_server.beat.status import Status  # noqa: PLC0415 - imports Celery
    from task_server.worker.status.systemd import Notifier  # noqa: PLC0415

    status = Status(spec.runtime_dir, spec.timing, Notifier(os.environ))
    early_stop.before_early_exit(status.remove)
    try:
        with bounded(name, spec.import_seconds), explained(name, environ):
            app = _load(name, spec, environ)
        _run(app, spec, status, environ)
    finally:
        status.remove()


def _load(name: str, spec: BeatSpec, environ: Mapping[str, str]) -> Any:
    """Return the project's app, with its tasks and its schedule."""
    from task_server import producer  # noqa: PLC0415
    from task_server.project import celery_app  # noqa: PLC0415
    from task_server.project.defaults import connection_defaults  # noqa: PLC0415

    app = celery_app.load_app(name)
    celery_app.use_broker(
        app, broker=environ.get("CELERY_BROKER_URL") if spec.uses_broker else None
    )
    celery_app.check_urls(app)
    defaults = connection_defaults(app.conf.result_backend, spec.timing)
    celery_app.apply_defaults(app, defaults)
    producer.install(app)
    # Imports its modules of tasks, which may add to the schedule.
    app.loader.init_worker()
    app.finalize()
    return app


def _run(app: Any, spec: BeatSpec, status: Any, environ: Mapping[str, str]) -> None:
    from celery.apps.beat import Beat as Program  # noqa: PLC0415

    from task_server.beat.schedule import usable_entries  # noqa: PLC0415
    from task_server.beat.schedulers import FileScheduler, logger, scheduler_class  # noqa: PLC0415
    from task_server.beat.service import Beat  # noqa: PLC0415
    from task_server.beat.signals import StopSignals  # noqa: PLC0415
    from task_server.project import celery_app  # noqa: PLC0415
    from task_server.project.schedule import has_schedule, schedule_file, scheduler_of  # noqa: PLC0415
    from task_server.worker import logs  # noqa: PLC0415

    if spec.log_format == "json":
        logs.install()
    program = Program(
        app=app,
        loglevel=spec.log_level.upper(),
        quiet=True,
        no_color=bool(environ.get("NO_COLOR")) or None,
    )
    program.setup_logging()
    socket.setdefaulttimeout(SOCKET_SECONDS)
    chosen = scheduler_class(scheduler_of(app, spec.scheduler))
    is_stored = issubclass(chosen, FileScheduler)
    entries, lines = usable_entries(app, stored=is_stored)
    for line in lines:
        logger.error("beat: %s", line)
    if not has_schedule(app):
        logger.warning("beat: the project has no schedule: nothing will be sent")
    celery_app.override(app, "beat_schedule", entries)
    kind: Any = Program.Service
    service = kind(
        app=app,
        max_interval=spec.max_interval,
        scheduler_cls=chosen,
        schedule_filename=str(schedule_file(app, spec)),
    )
    lock, explain = _lock(app, spec, logger)
    stop = StopSignals(STOP_SECONDS - 5)
    stop.install()
    Beat(service, lock, status, stop, explain).run()


def _lock(app: Any, spec: BeatSpec, logger: Any) -> Any:
    """Return the lock, None if there is none, and what explains a broker that fails."""
    from task_server.beat.lock import Lock  # noqa: PLC0415
    from task_server.peers.broker import BrokerClient, is_redis  # noqa: PLC0415
    from task_server.peers.redis import explain_redis_error  # noqa: PLC0415

    given = app.conf.broker_write_url or app.conf.broker_url or ""
    url = ";".join(map(str, given)) if isinstance(given, list | tuple) else str(given)

    def explain(error: BaseException) -> Finding:
        return explain_redis_error("broker_url", url, error)

    if not spec.lock_seconds:
        logger.warning("beat: beat.lock_seconds is 0: no lock keeps a second beat from sending")
        return None, explain
    try:
        redis = is_redis(app)
    except (ValueError, KeyError, ImportError) as error:
        message = f"the broker cannot be used ({type(error).__name__}: {error}); correct its URL"
        raise ConfigError([Problem("broker_url", message)]) from error
    if not redis:
        logger.warning(
            "beat: the broker is no Redis: no lock keeps a second beat from sending, so run one"
        )
        return None, explain
    return Lock(BrokerClient(app, spec.lock_seconds), spec.lock_name, spec.lock_seconds), explain


if __name__ == "__main__":
    early_stop.ignore_signals_at_exit()
    early_stop.install()
    # The launcher blocked them before exec.
    early_stop.unblock()
    try:
        main(os.environ)
    except TaskServerError as error:
        # Celery makes a logger of sys.stderr.
        print(f"Error: {error}", file=sys.__stderr__)
        raise SystemExit(error.exit_code) from error
