"""Where all of this is fastened to Celery's worker: its bootsteps."""

import logging
import signal
from typing import Any, ClassVar

from celery import bootsteps
from celery.worker.control import Panel

from task_server.launch.timing import Timing
from task_server.worker.broker import refuse, unregistered
from task_server.worker.broker import started as begun
from task_server.worker.broker.leases import Leases
from task_server.worker.broker.outage import Absence
from task_server.worker.broker.reconnect import Debts
from task_server.worker.broker.run_file import RunFile
from task_server.worker.broker.suspects import Apart
from task_server.worker.foreign_requests import ForeignJobs
from task_server.worker.patches import patch
from task_server.worker.pools import children, memory
from task_server.worker.requests import cancel_scheduled
from task_server.worker.shutdown.drain import Drain
from task_server.worker.status.heartbeat import Heart

logger = logging.getLogger(__name__)


class WorkerStep(bootsteps.StartStopStep):
    """The part that lives as long as the worker, whatever becomes of its connection."""

    requires = ("celery.worker.components:Pool",)

    drain: ClassVar[Drain]
    heart: ClassVar[Heart]
    foreign: ClassVar[ForeignJobs]
    leases: ClassVar[Leases]
    memory_limit: ClassVar[int]
    timing: ClassVar[Timing]

    _apart: Apart
    _hub: Any = None
    _timers: tuple[Any, ...] = ()

    def start(self, parent: Any) -> None:
        """Take over what Celery has set up by now; it has forked."""
        Panel.data["shutdown"] = self._on_remote_shutdown

        def start(request: Any) -> None:
            parent._process_task(request)  # noqa: SLF001 - which takes no place of prefork's

        if parent.hub is None:
            # gevent is imported where it is the pool, and nowhere else.
            from task_server.worker.pools.gevent import GeventTasks  # noqa: PLC0415
            from task_server.worker.pools.gevent_loop import (  # noqa: PLC0415
                GeventLoop,
                looked_at,
                show_stacks,
            )

            signal.signal(signal.SIGUSR1, show_stacks)
            self.drain.tasks = GeventTasks(parent, self.foreign, self.timing.stop_grace)
            self._apart = looked_at(start)
            begun.tell_in_greenlets(parent.pool, self._apart)
            self._loop = GeventLoop(self.drain, self._beat, self.heart.interval)
        else:
            from task_server.worker.pools.prefork import PreforkTasks  # noqa: PLC0415

            children.wrap_pool(parent.pool)
            self.drain.tasks = PreforkTasks(parent, self.foreign, self.timing.stop_grace)
            self._apart = Apart(start)
            begun.tell_before_children(parent.pool, self._apart)
            refuse.install_in_controller(parent)
        self.leases.guard(parent)
        self.heart.started(parent, self.drain.tasks.running)
        self.heart.beat()

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's shape
        """Tell what no loop has told: under gevent the main greenlet may be the first to end."""
        self.drain.tell_news()

    terminate = stop

    def register_with_event_loop(self, parent: Any, hub: Any) -> None:  # noqa: ARG002 - Celery's shape
        """Fasten heartbeat and drain to the event loop, which loses all with its connection."""
        self._hub = hub
        self.leases.guard_writes(hub)
        hub.add_reader(self.drain.wake.fileno(), self.drain.wake.clear)
        for entry in self._timers:
            entry.cancel()
        self._timers = (
            hub.call_repeatedly(self.heart.interval, self._beat),
            # A loop without a timer sleeps for a second.
            hub.call_repeatedly(self.timing.drain_tick, self._tick),
        )
        hub.on_tick.add(self._tick)
        hub.on_tick.add(self._apart.look)

    def _tick(self) -> None:
        if not self.drain.asked:
            return
        if self._hub._ready:  # noqa: SLF001
            # Acknowledgements of tasks that have just ended; the next turn writes them.
            self.drain.wake.wake()
            return
        self.drain.step()

    def _beat(self) -> None:
        self.heart.beat()
        if not self.memory_limit or self.drain.asked:
            return
        used = memory.used()
        if used > self.memory_limit:
            logger.warning(
                "%d MiB are used, the limit is %d MiB: draining, to be started anew",
                used >> 20,
                self.memory_limit >> 20,
            )
            self.drain.ask("memory limit")

    def _on_remote_shutdown(self, state: Any, **_: Any) -> dict[str, str]:  # noqa: ARG002 - Celery's shape
        """Answer the remote control command `shutdown`, Flower's button for one."""
        self.drain.ask("remote shutdown", wish=True)
        return {"ok": "draining"}


class ConsumerStep(bootsteps.StartStopStep):
    """The part that starts anew with every connection to Redis."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    drain: ClassVar[Drain]
    heart: ClassVar[Heart]
    debts: ClassVar[Debts]
    leases: ClassVar[Leases]
    run_file: ClassVar[RunFile]

    _keeper: Any = None

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._absence = Absence(self.heart)
        _beat_while_connecting(parent, self.heart, self._absence)
        refuse.install_in_consumer(parent)
        unregistered.install_in_consumer(parent)

    def start(self, parent: Any) -> None:
        """Take note of the connection; the consumer is about to consume."""
        self._absence.look_at_results(parent.app)
        channel = parent.task_consumer.channel
        self.debts.attach(channel)
        self.leases.attach(channel)
        self.run_file.attach(channel)
        self.drain.attach(parent)
        self.heart.connected(parent)
        if parent.hub is None:
            from task_server.worker.pools.gevent_loop import Keeper, wake_when_done  # noqa: PLC0415

            self._keeper = Keeper(parent.connection)
            wake_when_done(parent.connection, self.drain)

    def stop(self, parent: Any) -> None:
        """Take note that the connection is lost, or no longer needed."""
        if self.debts.is_lost:
            # Their messages go back; up to 5.6 Celery lets them run as well.
            cancel_scheduled(parent.timer)
        if self._keeper is not None:
            self._keeper.stop()
        self.drain.detach()
        self.debts.detach()
        self.heart.disconnected()


def _beat_while_connecting(consumer: Any, heart: Heart, absence: Absence) -> None:
    """
    Go on with the heartbeat of *heart* while *consumer* looks for Redis.

    Celery's loop does not turn then; the main thread retries and asks a
    callback once a second whether to stop.
    """
    ensure_connected = consumer.ensure_connected

    def ensure(connection: Any) -> Any:
        ensure_connection = connection.ensure_connection

        def beat_meanwhile(errback: Any, *args: Any, callback: Any = None, **kwargs: Any) -> Any:
            def failed(error: Exception, *rest: Any) -> None:
                absence.told(connection, error)
                errback(error, *rest)

            def each_second() -> None:
                heart.connecting()
                if callback is not None:
                    callback()

            return ensure_connection(failed, *args, callback=each_second, **kwargs)

        patch(connection, "ensure_connection", beat_meanwhile)
        heart.connecting()
        return ensure_connected(connection)

    patch(consumer, "ensure_connected", ensure)
