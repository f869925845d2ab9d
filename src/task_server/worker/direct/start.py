"""Chooses the engine of a worker, when Celery is about to make its pool."""

import logging
from typing import Any, Final

from celery import signals

from task_server.launch.spec import WorkerSpec
from task_server.worker.direct.engine import Drain, Engine, Heartbeat

logger: Final = logging.getLogger(__name__)


def engine_of(app: Any, spec: WorkerSpec, drain: Drain, heartbeat: Heartbeat) -> Engine:
    """Return the engine of the worker *spec*; it does nothing unless it is wanted, and can."""
    engine = Engine(drain, heartbeat)
    drain.is_settled = lambda: engine.is_settled
    if spec.fetch == "direct":

        def choose(instance: Any, **_: Any) -> None:
            # It is imported by those alone who use it.
            from task_server.worker.direct.pool import Pool  # noqa: PLC0415
            from task_server.worker.direct.reasons import reasons  # noqa: PLC0415

            found = list(reasons(app, spec, instance))
            if found:
                logger.warning(
                    "fetch = direct is set, and messages pass through the main process: %s",
                    "; ".join(found),
                )
                return
            # It has no processes yet.
            instance.pool.Pool = Pool
            engine.is_wanted = True

        signals.celeryd_after_setup.connect(choose, weak=False)
    return engine
