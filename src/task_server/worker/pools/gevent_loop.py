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

from task_server.worker.broker.suspects import Apart
from task_server.worker.patches import patch
from task_server.worker.shutdown.drain import Drain
from task_server.worker.shutdown.signals import WakePipe

logger = logging.getLogger(__name__)

#: Seconds between two looks of a draining worker at what still runs.
DRAIN_INTERVAL = 0.1

#: Seconds between two looks at suspects that wait.
APART_INTERVAL = 0.05

#: Seconds between two looks whether Redis is to be told that the worker lives.
KEEP_INTERVAL = 0.25


class GeventLoop:
    """The greenlets that call *beat* every *interval* seconds, and *drain* when it is asked."""

    def __init__(self, drain: Drain, beat: Callable[[], None], interval: float) -> None:
        self._greenlets = (
            gevent.spawn(_beat_for_ever, beat, interval),
            gevent.spawn(_drain_when_asked, drain),
        )


def looked_at(start: Callable[[Any], None]) -> Apart:
    """Return suspects; while some of them wait a greenlet looks, and *start* is called in one."""
    looking: set[Any] = set()

    def look() -> None:
        while apart.waiting:
            try:
                apart.look()
            except Exception:
                # They would wait for ever.
                logger.exception("a task that was kept back could not be started")
            gevent.sleep(APART_INTERVAL)
        looking.clear()

    def waits() -> None:
        if not looking:
            looking.add(gevent.spawn(look))

    # Whoever gives a task to a full pool waits.
    apart = Apart(lambda request: gevent.spawn(start, request), waits)
    return apart


def wake_when_done(connection: Any, drain: Drain) -> None:
    """
    End the poll of *connection*, two seconds at most, as soon as *drain* is done.

    Celery's loop asks only after it whether to stop, and then polls once more.
    """
    cycle = getattr(connection.transport, "cycle", None)
    if cycle is not None and hasattr(cycle, "poller"):
        patch(cycle, "poller", WakeablePoller(cycle.poller, drain.done))


class Keeper:
    """
    Lets the messages that *connection* holds stay its own, while Celery's loop waits.

    With every place taken it waits, for as long as tasks run, for a free one,
    and its transport cannot tell Redis that the worker lives. The transport is
    the atomic one; Kombu's tells nothing.
    """

    def __init__(self, connection: Any) -> None:
        cycle = getattr(connection.transport, "cycle", None)
        self._keep = getattr(cycle, "maintain", None)
        if self._keep is not None:
            gevent.spawn(self._run)

    def stop(self) -> None:
        """Leave the connection alone."""
        self._keep = None

    def _run(self) -> None:
        while (keep := self._keep) is not None:
            keep()
            gevent.sleep(KEEP_INTERVAL)


class WakeablePoller:
    """Kombu's *poller*, whose `poll` times out at once when *done* is readable."""

    def __init__(self, poller: Any, done: WakePipe) -> None:
        self._poller = poller
        self._fileno = done.fileno()
        poller.register(self._fileno, READ)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)

    def poll(self, timeout: float | None) -> Any:
        """
        Return the events that *poller* sees.

        Raises:
            TimeoutError: When the drain is done; Celery's loop turns on it.
        """
        events = self._poller.poll(timeout)
        if events and any(fileno == self._fileno for fileno, _ in events):
            raise TimeoutError
        return events


def show_stacks(*_: Any) -> None:
    """
    Write where each greenlet is to the log; the handler of SIGUSR1.

    Celery's own looks for threads, and shows none of those that gevent has patched.
    """
    text = io.StringIO()
    print_run_info(file=text)
    with suppress(OSError):
        os.write(2, f"\n{text.getvalue()}\n".encode(errors="replace"))


def _beat_for_ever(beat: Callable[[], None], interval: float) -> None:
    while True:
        beat()
        gevent.sleep(interval)


def _drain_when_asked(drain: Drain) -> None:
    while True:
        wait_read(drain.wake.fileno())
        drain.wake.clear()
        while drain.asked and not drain.finished:
            drain.step()
            gevent.sleep(DRAIN_INTERVAL)
