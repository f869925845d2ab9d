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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery.worker import state

from task_server.health import heartbeat, verdict
from task_server.health.process import boot_id, process_status
from task_server.launch.spec import WorkerSpec
from task_server.worker.status.databases import Databases
from task_server.worker.status.places import Places
from task_server.worker.status.stall import Backlog, Standstill
from task_server.worker.status.systemd import Notifier

if TYPE_CHECKING:
    from task_server.worker.foreign_requests import ForeignJobs

logger = logging.getLogger(__name__)


class Heart:
    """The heartbeat of the worker *spec*, in its folder and to *notifier*."""

    def __init__(self, spec: WorkerSpec, notifier: Notifier) -> None:
        self.notifier = notifier
        # Half of what systemd allows, so that one beat may be late.
        self.interval = min(spec.timing.heartbeat, (notifier.watchdog or 60.0) / 2)
        self._queue_scan = spec.timing.queue_scan
        self._path = heartbeat.path_of(Path(spec.runtime_dir), spec.name)
        self._pid = os.getpid()
        status = process_status(self._pid)
        self._beat = heartbeat.Heartbeat(
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
        )
        self._controller: Any = None
        self.in_hand: Iterable[Any] = ()
        self.foreign: ForeignJobs | None = None
        self._places: Places | None = None
        self._consumer: Any = None
        self._backlog: Backlog | None = None
        self._standstill = Standstill()
        self._taken = 0
        self._queues_at = 0.0
        self._databases: Databases | None = None
        self._database_pool: Any = None
        self._lines: tuple[str, ...] = ()
        self._beaten = 0.0
        self._last: tuple[str, str, float] | None = None
        self._told_stopping = False
        self._restarts = False
        self._complained = False
        atexit.register(self.remove)
        self.beat()

    @property
    def was_ready(self) -> bool:
        """Whether the worker has taken tasks at any time."""
        return self._beat.state != "starting"

    @property
    def reason(self) -> str | None:
        """Why the worker drains; None if it does not."""
        return self._beat.reason

    def started(self, controller: Any, running: Callable[[Iterable[Any]], list[Any]]) -> None:
        """Take note of Celery's *controller*, which has its pool now, and who tells what runs."""
        self._controller = controller
        self._places = Places(running)
        self._beat = replace(self._beat, node=controller.hostname)
        # They were looked at before there was a log.
        for line in self._lines:
            logger.error("%s", line)

    def connecting(self) -> None:
        """Take note that the worker looks for Redis; called once a second while it does."""
        if self._consumer is not None:
            # One more connection, such as that of the remote control.
            return
        if self._beat.connecting_since is None:
            self._beat = replace(
                self._beat, connected=False, connecting_since=time.monotonic(), backlog_since=None
            )
            self.beat()
        else:
            self.beat_if_due()

    def connected(self, consumer: Any) -> None:
        """Take note of *consumer*, which has a connection."""
        self._consumer = consumer
        self._backlog = Backlog.of(consumer)
        self._standstill = Standstill()
        self._queues_at = 0.0
        self._beat = replace(self._beat, connected=True, connecting_since=None, trouble=None)

    def trouble(self, text: str) -> None:
        """Take note of why there is no connection to Redis."""
        self._beat = replace(self._beat, trouble=text)
        self.beat()

    def missing(self, databases: Databases) -> None:
        """Take note of *databases* with something wrong; look at them until all answer."""
        self._databases = databases
        self._lines = tuple(databases.lines)
        self._beat = replace(self._beat, missing=databases.missing)
        self.beat()

    def watch_database(self, pool: Any) -> None:
        """Take note of *pool*, which shares the connections to PostgreSQL."""
        self._database_pool = pool

    def disconnected(self) -> None:
        """Take note that the connection is gone."""
        if self._backlog is not None:
            self._backlog.close()
        self._consumer = self._backlog = None
        if not self._beat.connected:
            return
        self._beat = replace(
            self._beat, connected=False, connecting_since=time.monotonic(), backlog_since=None
        )
        self.beat()

    def ready(self) -> None:
        """Take note that the worker consumes, for the first time."""
        if self._beat.state == "starting":
            self._beat = replace(self._beat, state="ready")
        self.beat()
        self.notifier.ready()

    def received(self, request: Any) -> None:
        """Take note of a task that was taken."""
        self._last = (request.name, request.id, time.time())
        self._taken += 1

    def drain(self, reason: str, until: float, *, restart: bool = False) -> None:
        """
        Take note that the worker stops, by *until* at the latest; it writes nothing.

        With *restart* systemd is not told, which would end what starts anew.
        """
        self._restarts = restart
        self._beat = replace(self._beat, state="draining", reason=reason, until=until)

    def beat_if_due(self) -> None:
        """Write a heartbeat if the last one is old enough."""
        if time.monotonic() - self._beaten >= self.interval:
            self.beat()

    def beat(self) -> None:
        """Write a heartbeat, and tell systemd if all is well."""
        # A pool child inherits this object.
        if os.getpid() != self._pid:
            return
        self._beaten = time.monotonic()
        self._count()
        if self._beaten - self._queues_at >= self._queue_scan:
            self._queues_at = self._beaten
            self._look_at_queues()
            self._look_at_databases()
        self._beat = replace(self._beat, time=time.time(), monotonic=time.monotonic())
        try:
            heartbeat.write(self._path, self._beat)
        except OSError as error:
            if not self._complained:
                self._complained = True
                logger.error("the heartbeat cannot be written: %s", error)  # noqa: TRY400
        self._tell()

    def remove(self) -> None:
        """Take the heartbeat away: the process ends."""
        if os.getpid() == self._pid:
            with suppress(OSError):
                heartbeat.remove(self._path)

    def _count(self) -> None:
        jobs = self.foreign.running if self.foreign is not None else []
        taken = {request for job in jobs for request in job.requests}
        active = len(state.active_requests) + len(jobs)
        # Whatever holds a task back: its time, its rate, a full pool, a batch.
        waiting = sum(
            request not in state.active_requests and request not in taken
            for request in self.in_hand
        )
        concurrency = self._beat.concurrency
        if self._controller is not None:
            concurrency = self._controller.pool.num_processes
        last = self._last
        stall = self._database_pool and self._database_pool.stall
        self._beat = replace(
            self._beat,
            refusal=self._refusal(),
            active=active,
            reserved=waiting,
            concurrency=concurrency,
            free=max(0, concurrency - active),
            lost=self._places.lost(state.active_requests, self._beaten) if self._places else 0,
            processed=max(0, state.all_total_count[0] - active),
            database=stall and stall.text,
            database_since=stall and stall.since,
            database_stuck=bool(stall and stall.is_stuck),
            last_task=last and {"name": last[0], "id": last[1], "time": last[2]},
        )

    def _refusal(self) -> str | None:
        """Return why Redis hands out no messages although it answers; None if it does."""
        channel = getattr(getattr(self._consumer, "task_consumer", None), "channel", None)
        refusal: str | None = getattr(getattr(channel, "fetcher", None), "refusal", None)
        return refusal

    def _look_at_queues(self) -> None:
        if self._backlog is None or self._beat.state == "draining":
            return
        lengths = self._backlog.lengths()
        if lengths is None:
            self._beat = replace(
                self._beat,
                connected=False,
                connecting_since=self._beat.connecting_since or time.monotonic(),
                backlog_since=None,
            )
            return
        now = time.monotonic()
        idle = self._beat.free > 0 and self._beat.reserved == 0
        since = self._standstill.look(sum(lengths.values()), self._taken, now, idle=idle)
        self._beat = replace(
            self._beat,
            connected=True,
            connecting_since=None,
            trouble=None,
            queues=lengths,
            unreadable=self._backlog.unreadable,
            queues_seen=now,
            backlog_since=since,
        )

    def _look_at_databases(self) -> None:
        if self._databases is None:
            return
        self._beat = replace(self._beat, missing=self._databases.look_again())
        if self._beat.missing is None:
            self._databases = None

    def _tell(self) -> None:
        beat = self._beat
        if beat.state == "draining" and not self._told_stopping and not self._restarts:
            self._told_stopping = True
            self.notifier.stopping()
        found = verdict.evaluate(beat, verdict.now())
        word = "ready" if found.ready else "not ready"
        self.notifier.status(f"{word}: {found.reason}" if found.alive else found.reason)
        if found.alive:
            self.notifier.alive()
