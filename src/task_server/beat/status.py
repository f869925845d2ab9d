"""What beat reports of itself: its heartbeat file, and systemd's notifications."""

import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from task_server.health import heartbeat, single, verdict
from task_server.health.beat_heartbeat import BeatHeartbeat
from task_server.health.beat_verdict import evaluate
from task_server.health.process import boot_id, process_status, waited
from task_server.launch.timing import Timing
from task_server.worker.status.systemd import Notifier

logger = logging.getLogger("task_server.beat")

#: Its name as a service, and that of its heartbeat.
NAME = "beat"


class Status:
    """Writes the heartbeat to *folder*, from beat's own loop, and notifies *notifier*."""

    def __init__(self, folder: str, timing: Timing, notifier: Notifier) -> None:
        # Half of the watchdog's time, so that one heartbeat may be late.
        self.interval = min(timing.heartbeat, (notifier.watchdog or 60.0) / 2)
        self._timing = timing
        self._notifier = notifier
        self._path = heartbeat.path_of(Path(folder), NAME)
        single.hold(self._path, NAME)
        self._written = 0.0
        self._failed = self._is_ready = False
        status = process_status(os.getpid())
        self._heartbeat = BeatHeartbeat(
            state="starting",
            time=time.time(),
            monotonic=time.monotonic(),
            boot_id=boot_id(),
            started=time.monotonic(),
            pid=os.getpid(),
            pid_start=status and status[1],
        )
        self.write()

    def update(self, **changes: Any) -> None:
        """Change fields of the heartbeat, and write it if its state is another one."""
        before = self._heartbeat
        self._heartbeat = before._replace(**changes)
        told = (before.state, before.trouble, before.holder)
        if told != (self._heartbeat.state, self._heartbeat.trouble, self._heartbeat.holder):
            self.write()

    def trouble(self, text: str) -> bool:
        """Record why nothing can be done now; return whether that is news."""
        if self._heartbeat.trouble == text:
            return False
        since = self._heartbeat.trouble_since or time.monotonic()
        self.update(trouble=text, trouble_since=since)
        return True

    def recovered(self) -> bool:
        """Record that the trouble is over; return whether there was any."""
        if self._heartbeat.trouble is None:
            return False
        self.update(trouble=None, trouble_since=None)
        return True

    def sent(self, name: str) -> None:
        """Record that the entry *name* was sent."""
        self._heartbeat = self._heartbeat._replace(sent=self._heartbeat.sent + 1, last_sent=name)

    def write_if_due(self) -> None:
        """Write the heartbeat if the last one is old enough."""
        if time.monotonic() - self._written >= self.interval:
            self.write()

    def write(self) -> None:
        """Write the heartbeat, and notify systemd."""
        self._written = time.monotonic()
        self._heartbeat = self._heartbeat._replace(
            time=time.time(), monotonic=self._written, waited=waited(os.getpid())
        )
        try:
            heartbeat.write(self._path, self._heartbeat)
        except OSError as error:
            if not self._failed:
                self._failed = True
                logger.error("the heartbeat cannot be written: %s", error)  # noqa: TRY400
        self._notify()

    def stopping(self) -> None:
        """Record that beat stops."""
        self.update(state="stopping")
        self._notifier.stopping()

    def remove(self) -> None:
        """Remove the heartbeat: the process ends."""
        with suppress(OSError):
            heartbeat.remove(self._path)

    def _notify(self) -> None:
        found = evaluate(self._heartbeat, verdict.now(), self._timing)
        if found.ready and not self._is_ready:
            self._is_ready = True
            self._notifier.ready()
        self._notifier.status(found.reason)
        if found.alive:
            self._notifier.alive()
