"""What runs inside the worker."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import signals

from task_server.config import WorkerConfig
from task_server.errors import ConfigError
from task_server.worker import children, connections, logs, lost, memory, put_aside
from task_server.worker.databases import Databases
from task_server.worker.drain import Drain
from task_server.worker.heartbeat import Heart
from task_server.worker.notify import Notifier
from task_server.worker.reconnect import Debts
from task_server.worker.steps import ConsumerStep, WorkerStep

logger = logging.getLogger(__name__)

LEVELS = {"info": logging.INFO, "warning": logging.WARNING}


def install(app: Any, worker: WorkerConfig, runtime_dir: Path) -> None:
    """
    Give *app* the steps of *worker*, whose heartbeat lies in *runtime_dir*.

    Call it once, in the worker's main process, before Celery builds the
    worker; under gevent after its patching. The first heartbeat is written
    here, and NOTIFY_SOCKET is taken out of the environment.
    """
    # A pool child that was not forked but started imports the app once more.
    if os.environ.get("FORKED_BY_MULTIPROCESSING"):
        return
    heart = Heart(worker, runtime_dir, Notifier(os.environ))
    drain = Drain(worker.drain_seconds, heart)
    debts = Debts(drain.running_tags)
    debts.install()
    connections.install(worker.pool)
    lost.install()
    put_aside.install(app)
    parts = {"drain": drain, "heart": heart, "debts": debts}
    limit = worker.memory_limit if worker.pool == "gevent" else None
    app.steps["worker"].add(type("TaskServer", (WorkerStep,), {**parts, "memory_limit": limit}))
    app.steps["consumer"].add(type("TaskServerConsumer", (ConsumerStep,), dict(parts)))
    if worker.log_format == "json":
        logs.install()
    if worker.pool == "prefork":
        children.install()
        memory.freeze_before_fork()
    signals.worker_init.connect(_look_at_databases(heart), weak=False)
    if worker.pool == "gevent":
        signals.worker_init.connect(_bound_database(worker.database_connections), weak=False)

    def received(request: Any = None, **_: Any) -> None:
        drain.in_hand.add(request)
        heart.received(request)

    def ready(**_: Any) -> None:
        heart.ready()

    def ended(**_: Any) -> None:
        heart.remove()

    signals.task_received.connect(received, weak=False)
    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutdown.connect(ended, weak=False)


def _look_at_databases(heart: Heart) -> Callable[..., None]:
    """Return the receiver of `worker_init`; it comes before the one that bounds connections."""

    def look(**_: Any) -> None:
        databases = Databases()
        if databases.refusals:
            # Celery logs what a receiver raises and goes on.
            error = ConfigError(databases.refusals, "the project's settings")
            print(f"Error: {error}", file=sys.stderr)
            raise SystemExit(error.exit_code)
        if databases.lines:
            heart.missing(databases)

    return look


def _bound_database(connections: int) -> Callable[..., None]:
    """Return the receiver of `worker_init`, which comes when Django is set up."""

    def bound(**_: Any) -> None:
        # The pool is gevent, so gevent is there; elsewhere it need not be.
        from task_server.worker import green  # noqa: PLC0415

        try:
            installed = green.install(connections)
        except ConfigError as error:
            # Celery logs what a receiver raises and goes on: into a worker that blocks.
            print(f"Error: {error}", file=sys.stderr)
            raise SystemExit(error.exit_code) from error
        for finding in installed.findings:
            logger.log(LEVELS[finding.level], "%s: %s", finding.setting, finding.message)

    return bound
