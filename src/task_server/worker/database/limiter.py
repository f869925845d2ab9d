"""
The bound: how many connections may be in use at once, and whose turn it is.

A greenlet that holds nothing waits in order of arrival. A greenlet that holds
one connection and asks for a second (another alias) would deadlock with its
likes once all places are taken, so `most_each - 1` places are kept for one
such greenlet at a time, the *owner*: it can always get all it needs, ends, and
gives everything back. A project with one PostgreSQL alias keeps nothing aside.

The application's own locks make another deadlock: the greenlets that hold the
connections want a lock, and who owns the lock waits for a connection. So a
quarter of the places, at least one, is a *reserve*. It is handed out when
nothing has moved for a second: to those first who own a lock that others wait
for. Of those who wait for that lock, who holds a connection gets it next. When
the reserve is used up, and those who hold connections provably wait for those
who want one, one wait after the other ends with an error. A limit that the
aliases of one greenlet use up (a limit of 1) leaves no reserve.

Everything here runs in the thread of gevent's loop.
"""

import gc
import logging
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import gevent
from gevent.event import Event

from task_server.worker.database import deadlocks as green_jam
from task_server.worker.database.deadlocks import Jam

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

#: Seconds without a place given back after which the log says so.
COMPLAIN_AFTER = 30.0
#: Seconds without a place given back after which garbage is collected (and again
#: after twice, four times as long): it may hold connections of greenlets that
#: ended without a close, and where every task waits nothing else collects it.
COLLECT_AFTER = 2.0
#: Seconds without a place given back after which the reserve is handed out.
PATIENCE = 1.0
#: The same for who owns a lock that others wait for, soon after a jam.
PATIENCE_IN_JAM = 0.05
#: Seconds for which a jam counts as recent.
RECENT = 10.0
#: What part of the time may go into searches through all objects for semaphores.
SEARCH_SHARE = 0.05
#: Seconds without a place given back after which a jam that is likely, but
#: cannot be proved, ends a wait. A proved one does after PATIENCE.
LIKELY_AFTER = 30.0
#: The same, while some of those who hold a place wait for no lock: in a query, say.
POSSIBLE_AFTER = 120.0
#: Seconds after the last wait that was ended for which a jam without waits counts.
TROUBLE_FADES_AFTER = 60.0
#: Seconds between two waits that are ended: the first may set others free.
BETWEEN_ENDS = 0.1


class NoPlaceError(Exception):
    """Raised when nobody gave a place back for as long as we are ready to wait."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why connections do not move, since when (monotonic), and whether locks are the reason."""

    text: str
    since: float
    is_stuck: bool


@dataclass(slots=True, eq=False)
class _Waiter:
    holder: int
    since: float
    granted: bool = False
    error: NoPlaceError | None = None
    wake: Event = field(default_factory=Event)


class Gate:
    """
    Hand out *limit* places, never more.

    A *holder* is any number that names who asks, here the id of a greenlet;
    only a weak reference to the greenlet is kept, for another would keep its
    connection alive.

    Args:
        limit: Places in all.

        most_each: How many places one holder may need at once; that many are
            promised without deadlock. Must not exceed *limit*.

        wait: Seconds to wait while no place is given back at all. As long as
            places move, a waiter goes on waiting, for its turn comes.

        patience: Seconds without a place given back after which the reserve
            is handed out.
    """

    def __init__(
        self, limit: int, most_each: int, wait: float, *, patience: float = PATIENCE
    ) -> None:
        self.limit = limit
        self.reserve = max(0, min(max(1, limit // 4), limit - most_each))
        self.used = 0
        #: Called when nothing has moved for `patience`; may free places.
        self.on_jam: Callable[[], None] | None = None
        self._most_each = most_each
        self._wait = wait
        self._patience = min(patience, wait)
        self._held: Counter[int] = Counter()
        self._greenlets: WeakValueDictionary[int, Any] = WeakValueDictionary()
        self._owner: int | None = None
        self._firsts: deque[_Waiter] = deque()
        self._seconds: deque[_Waiter] = deque()
        now = time.monotonic()
        self._moved = self._complained = self._next = now
        self._jammed = self._reserved = -RECENT
        self._collect_at = COLLECT_AFTER
        self._search_at = now
        self._waiting_since = now
        self._watching = False
        self._stuck_since: float | None = None
        self._ended = 0
        self._ended_at = now

    @property
    def waiting(self) -> int:
        """How many greenlets wait for a place."""
        return len(self._firsts) + len(self._seconds)

    @property
    def _free(self) -> int:
        """How many places are free, the reserve apart."""
        return self.limit - self.reserve - self.used

    @property
    def still(self) -> float:
        """Seconds for which greenlets have waited and no place was given back."""
        if not self.waiting:
            return 0.0
        return time.monotonic() - max(self._moved, self._waiting_since)

    def trouble(self) -> "Trouble | None":
        """Return why the places do not move; None while they do."""
        now = time.monotonic()
        if self._stuck_since is not None and (
            self.waiting or now - self._ended_at < TROUBLE_FADES_AFTER
        ):
            text = (
                f"all {self.limit} connections to PostgreSQL are held by tasks that wait for "
                f"locks; {self.waiting} wait for one, {self._ended} got an error (see the log)"
            )
            return Trouble(text, self._stuck_since, is_stuck=True)
        if self.still < COMPLAIN_AFTER:
            return None
        text = (
            f"{self.waiting} tasks wait for one of {self.limit} connections to PostgreSQL, and "
            f"none was given back for {self.still:.0f} s"
        )
        return Trouble(text, now - self.still, is_stuck=False)

    def greenlet(self, holder: int) -> Any:
        """Return the greenlet *holder*; None if it is gone or was never told."""
        return self._greenlets.get(holder)

    def acquire(self, holder: int, greenlet: Any = None) -> None:
        """
        Take a place for *holder*, which *greenlet* is; wait for one.

        Raises:
            NoPlaceError: No place was given back for `wait` seconds, or those
                who hold the places wait for this one.
        """
        if greenlet is not None:
            self._greenlets[holder] = greenlet
        queue = self._seconds if self._held[holder] else self._firsts
        waiter = _Waiter(holder, time.monotonic())
        if not self.waiting:
            self._waiting_since = waiter.since
        queue.append(waiter)
        self._dispatch()
        if waiter.granted:
            return
        if not self._watching:
            self._watching = True
            gevent.spawn(self._watch)
        try:
            waiter.wake.wait()
        except BaseException:
            # A greenlet may be killed between the grant and its waking up;
            # the place is then already ours, and goes to the next.
            if waiter.granted:
                self.release(holder)
            elif waiter.error is None:
                queue.remove(waiter)
            raise
        if waiter.error is not None:
            raise waiter.error

    def seize(self) -> None:
        """
        Take a place at once, past the queue and for nobody.

        Only for who removes an idle connection: that connection left room for
        one place, so the sum stays within the limit.
        """
        self.used += 1

    def release(self, holder: int | None) -> None:
        """Give one place of *holder* (None: a seized one) back; wake whose turn it is."""
        self.used -= 1
        if holder is not None:
            self._held[holder] -= 1
            if self._held[holder] <= 0:
                del self._held[holder]
        # With one place or none left the owner needs no more than anybody.
        if self._owner is not None and self._held[self._owner] <= 1:
            self._owner = None
        self._moved = time.monotonic()
        self._collect_at = COLLECT_AFTER
        self._stuck_since = None
        self._ended = 0
        self._dispatch()

    def _watch(self) -> None:
        """Look after those who wait, for as long as there are any."""
        pause = min(PATIENCE_IN_JAM, self._patience / 4, self._wait / 4)
        try:
            while self.waiting:
                gevent.sleep(pause)
                if self.waiting:
                    self._look_after(time.monotonic())
        finally:
            self._watching = False

    def _look_after(self, now: float) -> None:
        still = now - max(self._moved, self._waiting_since)
        if still >= self._collect_at:
            self._collect_at = 2 * still
            gc.collect()
            return
        if now < self._next or still < self._patience_now(now):
            return
        self._next = now + min(BETWEEN_ENDS, self._patience)
        jam = self._see(now)
        if jam.owners:
            self._put_first(jam.owners)
        elif still < self._patience:
            return
        if jam.is_likely or jam.owners:
            jam.let_holders_first()
        if self.on_jam is not None and still >= self._patience:
            self.on_jam()
        if not self._hand_out_reserve(jam, now):
            if jam.is_likely and self._stuck_since is None:
                self._stuck_since = now - still
            self._end_waits(jam, now, still)
        if still >= COMPLAIN_AFTER and now - self._complained >= COMPLAIN_AFTER:
            self._complained = now
            self._say(jam, f"none was given back for {still:.0f} seconds")

    def _patience_now(self, now: float) -> float:
        recent = now - self._jammed < RECENT
        return min(self._patience, PATIENCE_IN_JAM) if recent else self._patience

    def _see(self, now: float) -> Jam:
        waiting = {waiter.holder for queue in (self._seconds, self._firsts) for waiter in queue}
        holders = {holder: self.greenlet(holder) for holder in self._held}
        jam = green_jam.look(holders, waiting, self.greenlet)
        if jam.wants_search and now >= self._search_at:
            jam = green_jam.look(holders, waiting, self.greenlet, search=True)
            self._search_at = now + (time.monotonic() - now) / SEARCH_SHARE
        return jam

    def _put_first(self, owners: "frozenset[int] | set[int]") -> None:
        """Let who owns a lock have the next place."""
        for queue in (self._seconds, self._firsts):
            ordered = sorted(queue, key=lambda waiter: waiter.holder not in owners)
            queue.clear()
            queue.extend(ordered)

    def _hand_out_reserve(self, jam: Jam, now: float) -> bool:
        """Give a place of the reserve to whose turn it is; tell whether there was one."""
        free = self.limit - self.used
        for queue in (self._seconds, self._firsts):
            for waiter in queue:
                if not self._may_have(waiter.holder, free):
                    continue
                if waiter.holder not in jam.owners and now - self._reserved < self._patience:
                    return True
                queue.remove(waiter)
                self._reserved = now
                if jam.owners:
                    self._note_jam(jam, now, "a place of the reserve goes to who owns the lock")
                self._wake(waiter)
                return True
        return False

    def _end_waits(self, jam: Jam, now: float, still: float) -> None:
        """End the waits that nothing will end any more, one at a time where others may gain."""
        held_up = now - max(self._moved, self._waiting_since, self._reserved)
        certain = [
            *([self._patience] if jam.is_closed else []),
            *([LIKELY_AFTER] if jam.is_likely else []),
            *([POSSIBLE_AFTER] if jam.owners else []),
        ]
        if certain and held_up >= min(certain):
            waiters = [*self._seconds, *self._firsts]
            waiter = next((one for one in waiters if one.holder in jam.owners), waiters[0])
            text = (
                f"all {self.limit} connections are held by tasks that wait for a lock, and "
                f"{jam.reason(waiter.holder)}"
            )
            self._note_jam(jam, now, "the wait of one task is ended with an error")
            self._end(waiter, text)
            return
        text = (
            f"all {self.limit} connections were in use and none was given back for "
            f"{self._wait:g} seconds"
        )
        for queue in (self._seconds, self._firsts):
            for waiter in list(queue):
                if min(still, now - waiter.since) >= self._wait:
                    self._end(waiter, text)

    def _end(self, waiter: _Waiter, text: str) -> None:
        queue = self._seconds if waiter in self._seconds else self._firsts
        queue.remove(waiter)
        waiter.error = NoPlaceError(text)
        self._ended += 1
        self._ended_at = time.monotonic()
        waiter.wake.set()

    def _note_jam(self, jam: Jam, now: float, done: str) -> None:
        if now - self._jammed >= RECENT:
            self._say(jam, f"they wait for locks of tasks that want one; {done}")
        self._jammed = now

    def _say(self, jam: Jam, what: str) -> None:
        text = (
            f"database_connections: {len(jam.waiting)} wait for one of {self.limit} connections "
            f"to PostgreSQL; {what}. A task keeps its connection until it ends: call "
            "django.db.connection.close() before a long wait and before a lock, or raise the "
            f"setting.\n{jam.stacks()}"
        )
        # A handler of the log may itself want the lock that this is about.
        gevent.spawn(logger.warning, "%s", text)

    def _grant(self, holder: int) -> None:
        kept = self._most_each - 1
        if self._held[holder] and self._owner is None and self._free <= kept:
            self._owner = holder
        self.used += 1
        self._held[holder] += 1

    def _may_have(self, holder: int, free: int) -> bool:
        if free <= 0:
            return False
        if self._owner == holder or (self._owner is None and self._held[holder]):
            return True
        if self._owner is None:
            return free > self._most_each - 1
        return free > max(0, self._most_each - self._held[self._owner])

    def _dispatch(self) -> None:
        for waiter in list(self._seconds):
            if self._may_have(waiter.holder, self._free):
                self._seconds.remove(waiter)
                self._wake(waiter)
        while self._firsts and self._may_have(self._firsts[0].holder, self._free):
            self._wake(self._firsts.popleft())

    def _wake(self, waiter: _Waiter) -> None:
        self._grant(waiter.holder)
        waiter.granted = True
        waiter.wake.set()
