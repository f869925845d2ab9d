"""Installs all of this in a worker of Celery."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from socket import gethostname
from typing import Any

from celery import signals

from task_server import transport
from task_server.config.values import ALL_QUEUES
from task_server.errors import ConfigError, Problem
from task_server.launch import early_stop
from task_server.launch.spec import APP_VARIABLE, WorkerSpec
from task_server.project import queues
from task_server.transport import Hooks
from task_server.transport.store.failed_tasks import Limits
from task_server.worker import logs, tracing, worker_lost
from task_server.worker.broker import cancelled, connections, dead_letters
from task_server.worker.broker.chord_claims import ChordClaims
from task_server.worker.broker.failed_tasks import FailedTasks
from task_server.worker.broker.leases import Leases
from task_server.worker.broker.reconnect import PendingAcks
from task_server.worker.broker.run_file import RunFile
from task_server.worker.direct.start import engine_of
from task_server.worker.foreign_requests import PoolJobs
from task_server.worker.pools.base import module_of
from task_server.worker.shutdown.drain import Drain
from task_server.worker.shutdown.signals import install_handlers, replace_celerys
from task_server.worker.status import ended_outside
from task_server.worker.status.databases import Databases
from task_server.worker.status.heartbeat import HeartbeatWriter
from task_server.worker.status.systemd import Notifier
from task_server.worker.steps import ConsumerStep, WorkerStep

logger = logging.getLogger(__name__)


def install(app: Any, spec: WorkerSpec) -> None:
    """
    Give *app* the steps of the worker *spec*.

    Call it once, in the worker's main process, before Celery builds the
    worker; under gevent after its patching. The first heartbeat is written
    here, and NOTIFY_SOCKET is taken out of the environment.
    """
    # A pool child that is spawned, not forked, imports the app again.
    if os.environ.get("FORKED_BY_MULTIPROCESSING"):
        _install_transport(spec, Hooks())
        return
    heartbeat = HeartbeatWriter(spec, Notifier(os.environ))
    if spec.monitor:
        heartbeat.finished.install(app)
        ended_outside.install(heartbeat.finished)
    claims = ChordClaims(app, spec.timing.probe_timeout)
    drain = Drain(spec, heartbeat, claims.release_requests)
    early_stop.before_early_exit(heartbeat.remove)

    def take_over(controller: Any) -> None:
        drain.node = controller.hostname
        install_handlers(drain.on_signal)

    replace_celerys(take_over)
    pending_acks = PendingAcks(drain.running_tags, claims.release_requests)
    pending_acks.install()
    connections.install(spec.pool_row)
    failed = _watch_failures(spec, claims)
    cancelled.install(pending_acks, lambda: drain.tasks)
    leases = Leases(drain.received)
    direct = engine_of(app, spec, drain, heartbeat)
    hooks = Hooks(
        running=lambda: drain.running_tags() | direct.held(),
        started=lambda: drain.started_tags() | direct.started(),
        held=direct.held,
        room=direct.room,
        registered_tasks=lambda: app.tasks,
        on_lost_leases=leases.on_lost,
        on_dead_letter=dead_letters.failing(app),
        before_redelivery=claims.release,
        # Both pools report what may crash them, see `steps`.
        reports_started=True,
    )
    _install_transport(spec, hooks)
    run_file = RunFile(Path(spec.runtime_dir), spec.name).locked()
    pool = module_of(spec.pool)
    shared = {
        "direct": direct,
        "drain": drain,
        "heartbeat": heartbeat,
        "leases": leases,
        "pool": pool,
        "timing": spec.timing,
    }
    foreign = PoolJobs(drain.received)
    own = {"foreign": foreign, "memory_limit": spec.memory_limit}
    heartbeat.activity.foreign = foreign
    heartbeat.activity.requests = drain.received
    app.steps["worker"].add(type("TaskServer", (WorkerStep,), {**shared, **own}))
    consumer = {
        **shared,
        "pending_acks": pending_acks,
        "failed": failed,
        "run_file": run_file,
        "green": spec.pool_row.green,
    }
    app.steps["consumer"].add(type("TaskServerConsumer", (ConsumerStep,), consumer))
    _tell(spec)
    signals.worker_init.connect(_check_databases(heartbeat), weak=False)
    pool.prepare(spec, heartbeat)
    if ALL_QUEUES in spec.queues:
        signals.celeryd_after_setup.connect(_consume_every_queue(spec), weak=False)
    signals.celeryd_after_setup.connect(_warn_of_eager, weak=False)

    def received(request: Any = None, **_: Any) -> None:
        drain.received.add(request)
        heartbeat.received(request)

    def ready(**_: Any) -> None:
        heartbeat.ready()

    def ended(**_: Any) -> None:
        heartbeat.remove()
        run_file.remove(drain.received)

    signals.task_received.connect(received, weak=False)
    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutdown.connect(ended, weak=False)


def _watch_failures(spec: WorkerSpec, claims: ChordClaims) -> FailedTasks:
    """Watch what becomes of tasks that fail; return what keeps them."""
    worker_lost.install(claims.on_lost)
    failed = FailedTasks(Limits(spec.failures_kept, spec.failures_max_age, spec.failures_max_bytes))
    failed.install()
    return failed


def _tell(spec: WorkerSpec) -> None:
    """Log as JSON, and send spans, if that is wanted of the worker *spec*."""
    node = f"{spec.name}@{gethostname()}"
    if spec.log_format == "json":
        logs.install(node)
    tracing.install(node, green=spec.pool_row.green)


def _install_transport(spec: WorkerSpec, hooks: Hooks) -> None:
    """Use the atomic transport, if the worker *spec* does, with a Kombu that it knows."""
    if spec.transport == "atomic":
        transport.install(f"{spec.name}@{gethostname()}", hooks)


def _check_databases(heartbeat: HeartbeatWriter) -> Callable[..., None]:
    """Return the receiver of `worker_init`; it precedes those of the pool."""

    def check(**_: Any) -> None:
        databases = Databases()
        if databases.refusals:
            # Celery logs what a receiver raises and goes on.
            error = ConfigError(databases.refusals, "the project's settings")
            print(f"Error: {error}", file=sys.stderr)
            raise SystemExit(error.exit_code)
        if databases.errors:
            heartbeat.database_error(databases)

    return check


def _consume_every_queue(spec: WorkerSpec) -> Callable[..., None]:
    """Return the receiver of a signal that Celery sends when the project's tasks are imported."""

    def take(instance: Any = None, **_: Any) -> None:
        app, chosen = instance.app, instance.app.amqp.queues
        given = [name for name in spec.queues if name != ALL_QUEUES]
        try:
            seen = queues.seen(os.environ.get(APP_VARIABLE, ""), queues.django_settings())
            names = dict.fromkeys([*queues.every(app, seen), *given])
            # Those of the project's own Queue objects too, such as that of `worker_direct`.
            names.update(dict.fromkeys(chosen.consume_from))
            # Without task_create_missing_queues no one can send to another one either.
            chosen.select([name for name in names if chosen.create_missing or name in chosen])
            chosen.deselect(queues.excluded(spec.extra_args))
        except Exception as error:  # Celery logs it and goes on, without the queues
            message = f"the queues of the project cannot be listed: {type(error).__name__}: {error}"
            problem = Problem(f"workers.{spec.name}.queues", f"{message}; name them one by one")
            print(f"Error: {ConfigError([problem])}", file=sys.stderr)
            raise SystemExit(ConfigError.exit_code) from error
        taken = sorted(chosen.consume_from)
        logger.info("consumes every queue of the project: %s", ", ".join(taken))
        left = [f"{one.queue} ({one.where})" for one in seen if one.queue not in taken]
        if left:
            logger.warning(
                "these may be queues too, and are not consumed: %s; if they are, add them to "
                "workers.%s.queues",
                ", ".join(left[:20]),
                spec.name,
            )

    return take


def _warn_of_eager(conf: Any = None, **_: Any) -> None:
    """Warn that the project's tasks run where they are called, so that none comes here."""
    if conf.task_always_eager:
        logger.warning(
            "task_always_eager is set in the project's settings: tasks run in the process that "
            "calls them, and workers receive none; it is meant for tests"
        )
