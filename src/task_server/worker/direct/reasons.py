"""Why a worker fetches as with `central` though `fetch = "direct"` is set."""

from collections.abc import Iterator
from typing import Any

from celery.concurrency import prefork

from task_server import transport
from task_server.launch.engine import central_reasons
from task_server.launch.spec import WorkerSpec
from task_server.worker.direct.judge import SHORTEST_LIMIT

#: Celery's settings with which the main process must know each task: what they do.
SETTINGS = {
    "worker_pool_restarts": "the pool may be restarted remotely",
    "worker_cancel_long_running_tasks_on_connection_loss": "tasks are cancelled when the "
    "connection is lost",
}


def reasons(app: Any, spec: WorkerSpec, controller: Any) -> Iterator[str]:
    """Return what the engine `direct` does not serve yet, of *spec* and of the project's *app*."""
    yield from central_reasons(spec)
    conf = app.conf
    for name, does in SETTINGS.items():
        if conf.get(name):
            yield f"{does} ({name})"
    for name in ("time_limit", "soft_time_limit"):
        limit = getattr(controller, name, None)
        if limit and limit < SHORTEST_LIMIT:
            yield f"all tasks have a time limit below {SHORTEST_LIMIT:g} s (task_{name})"
    if not transport.installed():
        yield "the transport does not know this Kombu"
    if getattr(controller, "autoscale", None):
        yield "the pool is scaled (worker_autoscaler)"
    if type(controller.pool) is not prefork.TaskPool:
        yield "the pool is one of the project's own (worker_pool)"
    elif getattr(controller, "pool_start_method", "fork") != "fork":
        yield "children are not forked (worker_pool_start_method)"
    yield from _of_broker(app)


def _of_broker(app: Any) -> Iterator[str]:
    connection = app.connection_for_read()
    scheme = connection.transport_cls
    if not isinstance(scheme, str) or scheme.split("+")[0] not in ("redis", "rediss"):
        yield f"the broker is not Redis itself ({scheme})"
    elif connection.alt and len(connection.alt) > 1:
        yield "there are several brokers"
