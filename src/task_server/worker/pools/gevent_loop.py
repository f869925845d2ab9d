"""The worker's loop under gevent: greenlets beside Celery's, which waits for messages."""

import io
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent.socket import wait_read
from gevent.util import print_run_info
from kombu.utils.eventio import READ

from task_server.worker.broker.quarantine import Quarantine
from task_server.worker.patching import patch
from task_server.worker.shutdown.drain import Drain
from task_server.worker.shutdown.signals import SelfPipe

logger = logging.getLogger(__name__)

#: Seconds between two attempts to start deferred requests.
ADMIT_INTERVAL = 0.05

#: Seconds between two checks whether leases must be renewed.
RENEW_INTERVAL = 0.25


def start(
    drain: Drain, write: Callable[[], None], write_interval: float, drain_interval: float
) -> None:
    """
    Start greenlets that call *write*, and *drain* step by step when it is requested.

    Args:
        write_interval: Seconds between two calls of *write*.

        drain_interval: Seconds between two steps.
    """
    gevent.spawn(_write_heartbeats, write, write_interval)
    gevent.spawn(_drain_when_requested, drain, drain_interval)


def quarantine_in_greenlet(start: Callable[[Any], None]) -> Quarantine:
    """Return a quarantine whose waiting requests a greenlet admits; *start* runs in another."""
    admitting: set[Any] = set()

    def admit() -> None:
        while quarantine.waiting:
            try:
                quarantine.admit()
            except Exception:
                # Without this the others would wait forever.
                logger.exception("a deferred task could not be started")
            gevent.sleep(ADMIT_INTERVAL)
        admitting.clear()

    def on_defer() -> None:
        if not admitting:
            admitting.add(gevent.spawn(admit))

    # Giving a task to a full pool waits.
    quarantine = Quarantine(lambda request: gevent.spawn(start, request), on_defer)
    return quarantine


def end_poll_when_drained(connection: Any, drain: Drain) -> None:
    """
    End the poll of *connection*, which takes up to two seconds, when *drain* is done.

    Celery's loop checks only after it whether to stop, and then polls again.
    """
    cycle = getattr(connection.transport, "cycle", None)
    if cycle is not None and hasattr(cycle, "poller"):
        patch(cycle, "poller", WakeablePoller(cycle.poller, drain.done))


class LeaseRenewer:
    """
    Renews the leases of the messages of *connection* while Celery's loop waits.

    With every slot taken the loop waits, for as long as tasks run, for a free one,
    and its transport cannot renew leases. The transport is the atomic one; Kombu's
    has no leases.
    """

    def __init__(self, connection: Any) -> None:
        cycle = getattr(connection.transport, "cycle", None)
        self._keep = getattr(cycle, "maintain", None)
        if self._keep is not None:
            gevent.spawn(self._run)

    def stop(self) -> None:
        """Stop renewing."""
        self._keep = None

    def _run(self) -> None:
        while (keep := self._keep) is not None:
            keep()
            gevent.sleep(RENEW_INTERVAL)


class WakeablePoller:
    """Kombu's *poller*, whose `poll` times out at once when *done* is readable."""

    def __init__(self, poller: Any, done: SelfPipe) -> None:
        self._poller = poller
        self._fileno = done.fileno()
        poller.register(self._fileno, READ)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)

    def poll(self, timeout: float | None) -> Any:
        """
        Return the events that *poller* sees.

        Raises:
            TimeoutError: When the drain is done; Celery's loop continues.
        """
        events = self._poller.poll(timeout)
        if events and any(fileno == self._fileno for fileno, _ in events):
            raise TimeoutError
        return events


def show_stacks(*_: Any) -> None:
    """
    Write where each greenlet is to the log; the handler of SIGUSR1.

    Celery's own shows threads, but none that gevent has patched.
    """
    text = io.StringIO()
    print_run_info(file=text)
    with suppress(OSError):
        os.write(2, f"\n{text.getvalue()}\n".encode(errors="replace"))


def _write_heartbeats(write: Callable[[], None], interval: float) -> None:
    while True:
        write()
        gevent.sleep(interval)


def _drain_when_requested(drain: Drain, interval: float) -> None:
    while True:
        wait_read(drain.wake.fileno())
        drain.wake.clear()
        while drain.requested and not drain.finished:
            drain.step()
            gevent.sleep(interval)
