"""The bootsteps that attach all this to Celery's worker."""

import logging
from collections.abc import Callable
from typing import Any, ClassVar

from celery import bootsteps
from celery.worker.control import Panel

from task_server.launch.timing import Timing
from task_server.transport.store.owner import set_node_name
from task_server.worker.broker import prompt_acks, unreadable, unregistered
from task_server.worker.broker.failed_tasks import FailedTasks
from task_server.worker.broker.hand_back import HandBack
from task_server.worker.broker.leases import Leases
from task_server.worker.broker.outage import BrokerOutage
from task_server.worker.broker.quarantine import Quarantine
from task_server.worker.broker.reconnect import PendingAcks
from task_server.worker.broker.run_file import RunFile
from task_server.worker.direct.engine import Engine
from task_server.worker.foreign_requests import PoolJobs
from task_server.worker.patching import patch
from task_server.worker.pools import memory
from task_server.worker.pools.base import PoolModule, WorkerParts
from task_server.worker.requests import cancel_scheduled
from task_server.worker.shutdown.drain import Drain
from task_server.worker.status.heartbeat import HeartbeatWriter

logger = logging.getLogger(__name__)


class WorkerStep(bootsteps.StartStopStep):
    """What lives as long as the worker, across lost connections."""

    requires = ("celery.worker.components:Pool",)

    direct: ClassVar[Engine]
    drain: ClassVar[Drain]
    heartbeat: ClassVar[HeartbeatWriter]
    foreign: ClassVar[PoolJobs]
    leases: ClassVar[Leases]
    pool: ClassVar[PoolModule]
    memory_limit: ClassVar[int]
    timing: ClassVar[Timing]

    _quarantine: Quarantine
    _hub: Any = None
    _timers: tuple[Any, ...] = ()

    def start(self, parent: Any) -> None:
        """Patch the pool and the controller, which has forked by now."""
        Panel.data["shutdown"] = self._on_remote_shutdown
        # `celery -n`, among the further arguments, may say another than the spec.
        set_node_name(parent.hostname)

        parts = WorkerParts(
            controller=parent,
            foreign=self.foreign,
            drain=self.drain,
            timing=self.timing,
            write=self._write,
            write_interval=self.heartbeat.interval,
        )
        self.drain.tasks, self._quarantine = self.pool.attach(parts)
        self.leases.guard(parent)
        self.direct.attach(parent, self._quarantine)
        self.heartbeat.started(parent, self.drain.tasks.running)
        self.heartbeat.write()

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's shape
        """Send what the loop has not sent: under gevent the main greenlet may end first."""
        self.drain.send_shutdown_signals()

    terminate = stop

    def register_with_event_loop(self, parent: Any, hub: Any) -> None:  # noqa: ARG002 - Celery's shape
        """Attach heartbeat and drain to the event loop, which a lost connection resets."""
        self._hub = hub
        self.direct.register(hub)
        self.leases.guard_writes(hub)
        hub.add_reader(self.drain.wake.fileno(), self.drain.wake.clear)
        for entry in self._timers:
            entry.cancel()
        self._timers = (
            hub.call_repeatedly(self.heartbeat.interval, self._write),
            # Without a timer the loop sleeps for a second.
            hub.call_repeatedly(self.timing.drain_tick, self._tick),
        )
        hub.on_tick.add(self._tick)
        hub.on_tick.add(self._quarantine.admit)

    def _tick(self) -> None:
        if not self.drain.requested:
            return
        self.direct.adopt()
        if self._hub._ready:  # noqa: SLF001
            # Acknowledgements of tasks that have just ended; the next turn sends them.
            self.drain.wake.wake()
            return
        self.drain.step()

    def _write(self) -> None:
        self.direct.adopt()
        self.heartbeat.write()
        if not self.memory_limit or self.drain.requested:
            return
        used = memory.used()
        if used > self.memory_limit:
            logger.warning(
                "%d MiB are used, the limit is %d MiB: draining, to be restarted",
                used >> 20,
                self.memory_limit >> 20,
            )
            self.drain.request("memory limit")

    def _on_remote_shutdown(self, state: Any, **_: Any) -> dict[str, str]:  # noqa: ARG002 - Celery's shape
        """Answer the remote control command `shutdown`, Flower's button for one."""
        self.drain.request("remote shutdown", explicit=True)
        return {"ok": "draining"}


class ConsumerStep(bootsteps.StartStopStep):
    """What starts again with every connection to Redis."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    direct: ClassVar[Engine]
    drain: ClassVar[Drain]
    heartbeat: ClassVar[HeartbeatWriter]
    pending_acks: ClassVar[PendingAcks]
    failed: ClassVar[FailedTasks]
    leases: ClassVar[Leases]
    pool: ClassVar[PoolModule]
    run_file: ClassVar[RunFile]
    timing: ClassVar[Timing]
    green: ClassVar[bool]

    _disconnect: Callable[[], None] | None = None

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._hand_back = HandBack(
            *(self.drain.received, lambda: getattr(self.drain.tasks, "waiting", None)),
            is_stopping=lambda: self.drain.requested,
        )
        self._outage = BrokerOutage(self.heartbeat, self.timing.probe_timeout)
        _write_while_connecting(parent, self.heartbeat, self._outage)
        unreadable.install_in_consumer(parent, green=self.green)
        unregistered.install_in_consumer(parent)
        if self.green:
            prompt_acks.install(parent)

    def start(self, parent: Any) -> None:
        """Use the new connection; the consumer is about to consume."""
        self._outage.check_result_backend(parent.app)
        if self.green:
            # Celery sets up its tasks at each connection; a child of prefork, at its start.
            self.heartbeat.finished.watch()
        channel = parent.task_consumer.channel
        self.pending_acks.attach(channel)
        self.leases.attach(channel)
        self.run_file.attach(channel)
        self.failed.attach(parent)
        self.direct.connect(parent)
        self.drain.attach(parent)
        self._hand_back.attach(parent)
        self.heartbeat.stops.hand_back = self._hand_back
        self.heartbeat.connected(parent)
        self._disconnect = self.pool.connect(parent, self.drain)

    def stop(self, parent: Any) -> None:
        """Drop the connection, which is lost or no longer needed."""
        self.direct.disconnect()
        if self.pending_acks.is_lost:
            # Their messages are requeued; up to 5.6 Celery would run them as well.
            cancel_scheduled(parent.timer)
        if self._disconnect is not None:
            self._disconnect()
        self.failed.detach()
        self.drain.detach()
        self._hand_back.detach()
        self.pending_acks.detach()
        self.heartbeat.disconnected()


def _write_while_connecting(
    consumer: Any, heartbeat: HeartbeatWriter, outage: BrokerOutage
) -> None:
    """
    Write heartbeats while *consumer* connects to Redis.

    Celery's event loop does not run then; the main thread retries, and calls a
    callback once a second.
    """
    ensure_connected = consumer.ensure_connected

    def ensure(connection: Any) -> Any:
        ensure_connection = connection.ensure_connection

        def ensure_and_write(errback: Any, *args: Any, callback: Any = None, **kwargs: Any) -> Any:
            def failed(error: Exception, *rest: Any) -> None:
                outage.report(connection, error)
                errback(error, *rest)

            def each_second() -> None:
                heartbeat.connecting()
                if callback is not None:
                    callback()

            return ensure_connection(failed, *args, callback=each_second, **kwargs)

        patch(connection, "ensure_connection", ensure_and_write)
        heartbeat.connecting()
        return ensure_connected(connection)

    patch(consumer, "ensure_connected", ensure)
