"""What each pool's module offers to the worker, and how it is found: by the pool's name."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

from task_server.launch.spec import WorkerSpec
from task_server.launch.timing import Timing
from task_server.worker.broker.quarantine import Quarantine
from task_server.worker.foreign_requests import PoolJobs
from task_server.worker.shutdown.drain import Drain, Tasks
from task_server.worker.status.heartbeat import HeartbeatWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """
    What a pool is attached to.

    Attributes:
        controller: Celery's worker, whose pool has started.

        foreign: The jobs of the pool that are none of Celery's requests.

        drain: To be driven by whatever is the pool's loop.

        timing: The worker's intervals and time-outs.

        write: Writes the heartbeat; Celery's event loop, where there is one, calls it.

        write_interval: Seconds between two calls of `write`.
    """

    controller: Any
    foreign: PoolJobs
    drain: Drain
    timing: Timing
    write: Callable[[], None]
    write_interval: float

    def start(self, request: Any) -> None:
        """Give *request* to the pool; it acquires no slot of prefork's."""
        self.controller._process_task(request)  # noqa: SLF001 - Celery has no other way


class PoolModule(Protocol):
    """The module `task_server.worker.pools.NAME` of the pool NAME."""

    def prepare(self, spec: WorkerSpec, heartbeat: HeartbeatWriter, /) -> None:
        """Prepare the process of the worker *spec*, before Celery builds the worker."""

    def attach(self, parts: WorkerParts, /) -> tuple[Tasks, Quarantine]:
        """
        Patch the pool, which has started.

        Returns:
            Its tasks, for the drain; and what defers requests, whose `admit` Celery's event
            loop calls, where there is one.
        """

    def connect(self, consumer: Any, drain: Drain, /) -> Callable[[], None]:
        """
        Use the new connection of *consumer*, which is about to consume.

        Returns:
            What to call when that connection is lost or no longer needed.
        """


def module_of(name: str) -> PoolModule:
    """Return the module of the pool *name*; only its own imports what it needs, such as gevent."""
    return cast("PoolModule", import_module(f"{__package__}.{name}"))
