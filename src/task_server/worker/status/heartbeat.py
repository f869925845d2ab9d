"""
The heartbeat: what the worker knows of itself, written from its own loop.

No thread of its own writes it, so that a heartbeat proves that the loop turns.
"""

import atexit
import logging
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from celery.worker import state

from task_server.health import heartbeat, single, verdict
from task_server.health.process import boot_id, process_status, waited
from task_server.launch.spec import WorkerSpec
from task_server.worker.status.activity import Activity
from task_server.worker.status.databases import Databases
from task_server.worker.status.finished import Finished
from task_server.worker.status.queues import ConsumedQueues
from task_server.worker.status.registration import Registration
from task_server.worker.status.slots import LeakedSlots
from task_server.worker.status.stall import StallDetector
from task_server.worker.status.statistics import Statistics
from task_server.worker.status.stops import StopWatch
from task_server.worker.status.stuck import Stuck
from task_server.worker.status.systemd import Notifier

logger = logging.getLogger(__name__)


class HeartbeatWriter:
    """Writes the heartbeat of the worker *spec* to its folder, and notifies *notifier*."""

    def __init__(self, spec: WorkerSpec, notifier: Notifier) -> None:
        self.notifier = notifier
        # Half of the watchdog's time, so that one heartbeat may be late.
        self.interval = min(spec.timing.heartbeat, (notifier.watchdog or 60.0) / 2)
        self._timing = spec.timing
        self._path = heartbeat.path_of(Path(spec.runtime_dir), spec.name)
        single.hold(self._path, f"worker {spec.name}")
        self._pid = os.getpid()
        status = process_status(self._pid)
        self._heartbeat = heartbeat.Heartbeat(
            state="starting",
            time=time.time(),
            monotonic=time.monotonic(),
            boot_id=boot_id(),
            started=time.monotonic(),
            pid=self._pid,
            pid_start=status and status[1],
            name=spec.name,
            node=None,
            pool=spec.pool,
            concurrency=spec.concurrency,
            free=spec.concurrency,
            unready_seconds=spec.task_unready_seconds,
            dead_seconds=spec.task_dead_seconds,
        )
        self.activity = Activity()
        self._consumer: Any = None
        self._queues: ConsumedQueues | None = None
        self.finished = Finished()
        self._registration: Registration | None = None
        if spec.monitor:
            self._registration = Registration(
                spec.timing.registration, Statistics(self.finished), machine=spec.machine
            )
        self.stops = StopWatch(spec.timing.registration)
        self._stall = StallDetector()
        self._count_received = 0
        self._queues_at = 0.0
        self._databases: Databases | None = None
        self._database_pool: Any = None
        self._database_errors: tuple[str, ...] = ()
        self._written = 0.0
        self._last: tuple[str, str, float] | None = None
        self._sent_stopping = False
        self._restarts = False
        self._failed = False
        atexit.register(self.remove)
        self.write()

    @property
    def was_ready(self) -> bool:
        """Whether the worker has consumed at any time."""
        return self._heartbeat.state != "starting"

    @property
    def reason(self) -> str | None:
        """Why the worker drains; None if it does not."""
        return self._heartbeat.reason

    def started(self, controller: Any, running: Callable[[Iterable[Any]], list[Any]]) -> None:
        """Watch Celery's *controller*, whose pool has started; *running* filters what it runs."""
        slots = LeakedSlots(running, self._timing.leaked_slot)
        self.activity.started(controller.pool, slots)
        self._heartbeat = self._heartbeat._replace(node=controller.hostname)
        # They were checked before logging was set up.
        for line in self._database_errors:
            logger.error("%s", line)

    def connecting(self) -> None:
        """Record that the worker is connecting to Redis; called once a second meanwhile."""
        if self._consumer is not None:
            # Another connection, such as that of the remote control.
            return
        if self._heartbeat.connecting_since is None:
            self._heartbeat = self._heartbeat._replace(
                connected=False,
                connecting_since=time.monotonic(),
                backlog_since=None,
            )
            self.write()
        else:
            self.write_if_due()

    def connected(self, consumer: Any) -> None:
        """Record that *consumer* is connected."""
        self._consumer = consumer
        self._queues = ConsumedQueues.of(consumer, self._timing.probe_timeout)
        self._stall = StallDetector()
        self._queues_at = 0.0
        self._heartbeat = self._heartbeat._replace(
            connected=True, connecting_since=None, trouble=None
        )

    def broker_error(self, text: str) -> None:
        """Record why there is no connection to Redis."""
        self._heartbeat = self._heartbeat._replace(trouble=text)
        self.write()

    def database_error(self, databases: Databases) -> None:
        """Record the errors of *databases*; retry them until all answer."""
        self._databases = databases
        self._database_errors = tuple(databases.errors)
        self._heartbeat = self._heartbeat._replace(missing=databases.unreachable)
        self.write()

    def watch_database(self, pool: Any) -> None:
        """Report *pool*, which shares the connections to PostgreSQL."""
        self._database_pool = pool

    def disconnected(self) -> None:
        """Record that the connection is lost."""
        if self._queues is not None:
            if self._heartbeat.state == "draining" and self._registration is not None:
                self._register(self._queues, self._registration)
                self._queues.leave(self._registration)
            self._queues.close()
        self._consumer = self._queues = None
        if not self._heartbeat.connected:
            return
        self._heartbeat = self._heartbeat._replace(
            connected=False, connecting_since=time.monotonic(), backlog_since=None
        )
        self.write()

    def ready(self) -> None:
        """Record that the worker consumes, for the first time."""
        if self._heartbeat.state == "starting":
            self._heartbeat = self._heartbeat._replace(state="ready")
        self.write()
        self.notifier.ready()

    def received(self, request: Any) -> None:
        """Record a received task."""
        self._last = (request.name, request.id, time.time())
        self._count_received += 1

    def received_many(self, count: int) -> None:
        """Record that *count* tasks were received, and run, by children for themselves."""
        self._count_received += count

    def drain(self, reason: str, until: float, *, restart: bool = False) -> None:
        """
        Record that the worker stops, by *until* at the latest; nothing is written.

        With *restart* systemd is not notified: it would end the process that starts again.
        """
        self._restarts = restart
        self._heartbeat = self._heartbeat._replace(state="draining", reason=reason, until=until)

    def write_if_due(self) -> None:
        """Write a heartbeat if the last one is old enough."""
        if time.monotonic() - self._written >= self.interval:
            self.write()

    def write(self) -> None:
        """Write a heartbeat, and notify systemd."""
        # A pool child inherits this object.
        if os.getpid() != self._pid:
            return
        self._written = time.monotonic()
        self._count()
        if self._written - self._queues_at >= self._timing.queue_scan:
            self._queues_at = self._written
            self._read_queues()
            self._retry_databases()
        registration = self._registration
        if registration is not None and registration.is_due and self._heartbeat.connected:
            self._register(self._queues, registration)
        self._look_at_stops(self._queues)
        self._heartbeat = self._heartbeat._replace(
            time=time.time(), monotonic=time.monotonic(), waited=waited(self._pid)
        )
        try:
            heartbeat.write(self._path, self._heartbeat)
        except OSError as error:
            if not self._failed:
                self._failed = True
                logger.error("the heartbeat cannot be written: %s", error)  # noqa: TRY400
        self._notify()

    def _register(self, queues: ConsumedQueues | None, registration: Registration) -> None:
        if queues is not None:
            stuck = Stuck.of(self._heartbeat, self.activity.stopped.since, self._timing)
            queues.register(registration, self._heartbeat, state.active_requests, stuck)

    def _look_at_stops(self, queues: ConsumedQueues | None) -> None:
        if queues is not None and self._heartbeat.connected:
            self._heartbeat = self.stops.look(queues, self._fetcher, self._heartbeat)

    def remove(self) -> None:
        """Remove the heartbeat: the process ends."""
        if os.getpid() == self._pid:
            with suppress(OSError):
                heartbeat.remove(self._path)

    def _count(self) -> None:
        last = self._last
        stall = self._database_pool and self._database_pool.stall
        self._heartbeat = self.activity.counted(self._heartbeat, self._written)._replace(
            refusal=self._refusal(),
            database=stall and stall.text,
            database_since=stall and stall.since,
            database_stuck=bool(stall and stall.is_stuck),
            last_task=last and {"name": last[0], "id": last[1], "time": last[2]},
        )

    def _refusal(self) -> str | None:
        """Return why Redis delivers no messages although it answers; None if it does."""
        refusal: str | None = getattr(self._fetcher, "refusal", None)
        return refusal

    @property
    def _fetcher(self) -> Any:
        """What fetches for the worker; None before it does, and with Kombu's transport."""
        channel = getattr(getattr(self._consumer, "task_consumer", None), "channel", None)
        return getattr(channel, "fetcher", None)

    def _read_queues(self) -> None:
        if self._queues is None or self._heartbeat.state == "draining":
            return
        lengths = self._queues.read()
        if lengths is None:
            self._heartbeat = self._heartbeat._replace(
                connected=False,
                connecting_since=self._heartbeat.connecting_since or time.monotonic(),
                backlog_since=None,
            )
            return
        now = time.monotonic()
        is_full = getattr(self._fetcher, "is_full", False)
        idle = self._heartbeat.free > 0 and self._heartbeat.reserved == 0 and not is_full
        waiting = sum(self.stops.open(lengths).values())
        since = self._stall.update(waiting, self._count_received, now, idle=idle)
        self._heartbeat = self._heartbeat._replace(
            connected=True,
            connecting_since=None,
            trouble=None,
            queues=lengths,
            unreadable=self._queues.unreadable,
            queues_seen=now,
            backlog_since=since,
        )

    def _retry_databases(self) -> None:
        if self._databases is None:
            return
        self._heartbeat = self._heartbeat._replace(missing=self._databases.retry())
        if self._heartbeat.missing is None:
            self._databases = None

    def _notify(self) -> None:
        written = self._heartbeat
        if written.state == "draining" and not self._sent_stopping and not self._restarts:
            self._sent_stopping = True
            self.notifier.stopping()
        found = verdict.evaluate(written, verdict.now(), self._timing)
        word = "ready" if found.ready else "not ready"
        self.notifier.status(f"{word}: {found.reason}" if found.alive else found.reason)
        if found.alive:
            self.notifier.alive()
