"""
What happens while tasks wait for a connection and none is released.

The application's own locks can cause a deadlock: the greenlets that hold the
connections wait for a lock, and its owner waits for a connection. So when
nothing has moved for a second, the reserve is granted, first to greenlets
that own a lock that others wait for. Of the greenlets that wait for that lock,
one that holds a connection gets it next. When the reserve is used up, and the
greenlets that hold connections provably wait for those without, waits for a
connection are ended with an error, one after the other.
"""

import gc
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gevent

from task_server.worker.database.deadlocks import WaitGraph, wait_graph
from task_server.worker.database.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

#: Seconds without a slot released after which the log says so.
WARN_AFTER = 30.0
#: Seconds without a slot released after which garbage is collected (and again
#: after twice, four times as long): it may hold connections of greenlets that
#: ended without a close, and where every task waits nothing else collects it.
COLLECT_AFTER = 2.0
#: Seconds without a slot released after which the reserve is granted.
RESERVE_AFTER = 1.0
#: The same for the owner of a lock that others wait for, soon after a deadlock.
RESERVE_AFTER_DEADLOCK = 0.05
#: Seconds for which a deadlock counts as recent.
RECENT = 10.0
#: The share of the time that may go into searches through all objects for semaphores.
SEARCH_SHARE = 0.05
#: Seconds without a slot released after which a deadlock that is likely, but
#: cannot be proved, ends a wait. A proved one does after RESERVE_AFTER.
LIKELY_AFTER = 30.0
#: The same, while some holders of a slot wait for no lock: in a query, say.
POSSIBLE_AFTER = 120.0
#: Seconds for which a stall without waiters lasts, after the last wait that was ended.
STALL_FADES_AFTER = 60.0
#: Seconds between two waits that are ended: the first may unblock others.
ABORT_INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class Stall:
    """Why connections do not move, since when (monotonic), and whether locks are the reason."""

    text: str
    since: float
    is_stuck: bool


class StallWatcher:
    """
    Watch *slots* while greenlets wait for one.

    Args:
        timeout: Seconds without a slot released after which waits end with an error.

        reserve_after: Seconds without a slot released after which the reserve
            is granted.
    """

    def __init__(self, slots: Slots, timeout: float, reserve_after: float) -> None:
        #: Called when no slot was released for `reserve_after`; may release some.
        self.on_stall: Callable[[], None] | None = None
        self._slots = slots
        self._timeout = timeout
        self._reserve_after = min(reserve_after, timeout)
        now = time.monotonic()
        self._warned_at = self._next_check = self._search_at = now
        self._deadlock_at = self._reserve_used_at = -RECENT
        self._collect_after = COLLECT_AFTER
        self._is_running = False
        self._stuck_since: float | None = None
        self._aborted = 0
        self._aborted_at = now

    def start(self) -> None:
        """Watch, in a greenlet, as long as there are waiters."""
        if not self._is_running:
            self._is_running = True
            gevent.spawn(self._run)

    def on_release(self) -> None:
        """Start over, for a slot is released."""
        self._collect_after = COLLECT_AFTER
        self._stuck_since = None
        self._aborted = 0

    def stall(self) -> Stall | None:
        """Return why the slots do not move; None while they do."""
        now = time.monotonic()
        limit, waiting, seconds = self._slots.limit, self._slots.waiting, self._slots.stalled_for
        if self._stuck_since is not None and (
            waiting or now - self._aborted_at < STALL_FADES_AFTER
        ):
            text = (
                f"all {limit} connections to PostgreSQL are held by tasks that wait for "
                f"locks; {waiting} wait for one, {self._aborted} got an error (see the log)"
            )
            return Stall(text, self._stuck_since, is_stuck=True)
        if seconds < WARN_AFTER:
            return None
        text = (
            f"{waiting} tasks wait for one of {limit} connections to PostgreSQL, and "
            f"none was released for {seconds:.0f} s"
        )
        return Stall(text, now - seconds, is_stuck=False)

    def _run(self) -> None:
        pause = min(RESERVE_AFTER_DEADLOCK, self._reserve_after / 4, self._timeout / 4)
        try:
            while self._slots.waiting:
                gevent.sleep(pause)
                if self._slots.waiting:
                    self._check(time.monotonic())
        finally:
            self._is_running = False

    def _check(self, now: float) -> None:
        seconds = now - self._slots.stalled_since
        if seconds >= self._collect_after:
            self._collect_after = 2 * seconds
            gc.collect()
            return
        if now < self._next_check or seconds < self._current_reserve_after(now):
            return
        self._next_check = now + min(ABORT_INTERVAL, self._reserve_after)
        graph = self._wait_graph(now)
        if graph.lock_owners:
            self._slots.prioritize(graph.lock_owners)
        elif seconds < self._reserve_after:
            return
        if graph.is_likely_deadlock or graph.lock_owners:
            graph.prioritize_holders()
        if self.on_stall is not None and seconds >= self._reserve_after:
            self.on_stall()
        if not self._hand_out_reserve(graph, now):
            if graph.is_likely_deadlock and self._stuck_since is None:
                self._stuck_since = now - seconds
            self._abort_waits(graph, now, seconds)
        if seconds >= WARN_AFTER and now - self._warned_at >= WARN_AFTER:
            self._warned_at = now
            self._warn(graph, f"none was released for {seconds:.0f} seconds")

    def _current_reserve_after(self, now: float) -> float:
        is_recent = now - self._deadlock_at < RECENT
        return (
            min(self._reserve_after, RESERVE_AFTER_DEADLOCK) if is_recent else self._reserve_after
        )

    def _wait_graph(self, now: float) -> WaitGraph:
        waiting = {waiter.holder for waiter in self._slots.waiters}
        holders, greenlet_of = self._slots.holders, self._slots.greenlet_of
        graph = wait_graph(holders, waiting, greenlet_of)
        if graph.needs_search and now >= self._search_at:
            graph = wait_graph(holders, waiting, greenlet_of, search=True)
            self._search_at = now + (time.monotonic() - now) / SEARCH_SHARE
        return graph

    def _hand_out_reserve(self, graph: WaitGraph, now: float) -> bool:
        """Grant a slot of the reserve to the first in line; return whether one was left."""
        for waiter in self._slots.waiters:
            if not self._slots.may_use_reserve(waiter.holder):
                continue
            is_owner = waiter.holder in graph.lock_owners
            if not is_owner and now - self._reserve_used_at < self._reserve_after:
                return True
            self._reserve_used_at = now
            if graph.lock_owners:
                self._log_deadlock(graph, now, "the owner of the lock gets one of the reserve")
            self._slots.grant(waiter)
            return True
        return False

    def _abort_waits(self, graph: WaitGraph, now: float, seconds: float) -> None:
        """End the waits that can never be served, one at a time where that may free others."""
        if now - max(self._slots.stalled_since, self._reserve_used_at) >= self._abort_after(graph):
            waiters = self._slots.waiters
            owners = graph.lock_owners
            waiter = next((one for one in waiters if one.holder in owners), waiters[0])
            reason = (
                f"all {self._slots.limit} connections are held by tasks that wait for a lock, and "
                f"{graph.explain(waiter.holder)}"
            )
            self._log_deadlock(graph, now, "the wait of one task is ended with an error")
            self._slots.abort(waiter, reason)
            self._note_abort()
            return
        reason = (
            f"all {self._slots.limit} connections were in use and none was released for "
            f"{self._timeout:g} seconds"
        )
        for waiter in self._slots.waiters:
            if min(seconds, now - waiter.since) >= self._timeout:
                self._slots.abort(waiter, reason)
                self._note_abort()

    def _abort_after(self, graph: WaitGraph) -> float:
        """Return after how many seconds a wait is ended for a deadlock as certain as this one."""
        seconds = [float("inf")]
        if graph.is_deadlock:
            seconds.append(self._reserve_after)
        if graph.is_likely_deadlock:
            seconds.append(LIKELY_AFTER)
        if graph.lock_owners:
            seconds.append(POSSIBLE_AFTER)
        return min(seconds)

    def _note_abort(self) -> None:
        self._aborted += 1
        self._aborted_at = time.monotonic()

    def _log_deadlock(self, graph: WaitGraph, now: float, outcome: str) -> None:
        if now - self._deadlock_at >= RECENT:
            self._warn(graph, f"the others wait for locks of tasks that wait for one; {outcome}")
        self._deadlock_at = now

    def _warn(self, graph: WaitGraph, what: str) -> None:
        text = (
            f"database_connections: {len(graph.waiting)} waiting for one of {self._slots.limit} "
            f"connections to PostgreSQL; {what}. A task keeps its connection until it ends: call "
            "django.db.connection.close() before a long wait and before a lock, or raise the "
            f"setting.\n{graph.stacks()}"
        )
        # A handler of the log may itself want the lock that this is about.
        gevent.spawn(logger.warning, "%s", text)
