"""
The bound: how many connections may be in use at once, and whose turn it is.

A greenlet that holds nothing waits in order of arrival. A greenlet that holds
one connection and asks for a second (another alias) would deadlock with its
likes once all places are taken, so `most_each - 1` places are kept for one
such greenlet at a time, the *owner*: it can always get all it needs, ends, and
gives everything back. A project with one PostgreSQL alias keeps nothing aside.
"""

import gc
import logging
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from gevent.event import Event

logger = logging.getLogger(__name__)

#: Seconds without a place given back after which the log says so.
COMPLAIN_AFTER = 30.0
#: Seconds without a place given back after which garbage is collected (and again
#: after twice, four times as long): it may hold connections of greenlets that
#: ended without a close, and where every task waits nothing else collects it.
COLLECT_AFTER = 2.0


class NoPlaceError(Exception):
    """Raised when nobody gave a place back for as long as we are ready to wait."""


@dataclass(slots=True, eq=False)
class _Waiter:
    holder: int
    granted: bool = False
    wake: Event = field(default_factory=Event)


class Gate:
    """
    Hand out *limit* places, never more.

    A *holder* is any number that names who asks, here the id of a greenlet; no
    reference to the greenlet is kept, for that would keep its connection alive.

    Args:
        limit: Places in all.

        most_each: How many places one holder may need at once; that many are
            promised without deadlock. Must not exceed *limit*.

        wait: Seconds to wait while no place is given back at all. As long as
            places move, a waiter goes on waiting, for its turn comes.
    """

    def __init__(self, limit: int, most_each: int, wait: float) -> None:
        self.limit = limit
        self.used = 0
        self._most_each = most_each
        self._wait = wait
        self._held: Counter[int] = Counter()
        self._owner: int | None = None
        self._firsts: deque[_Waiter] = deque()
        self._seconds: deque[_Waiter] = deque()
        self._moved = self._complained = time.monotonic()
        self._collect_at = COLLECT_AFTER

    @property
    def waiting(self) -> int:
        """How many greenlets wait for a place."""
        return len(self._firsts) + len(self._seconds)

    def acquire(self, holder: int) -> None:
        """
        Take a place for *holder*; wait for one.

        Raises:
            NoPlaceError: No place was given back for `wait` seconds.
        """
        queue = self._seconds if self._held[holder] else self._firsts
        waiter = _Waiter(holder)
        queue.append(waiter)
        self._dispatch()
        try:
            self._sleep_until_granted(waiter)
        except BaseException:
            # A greenlet may be killed between the grant and its waking up;
            # the place is then already ours, and goes to the next.
            if waiter.granted:
                self.release(holder)
            else:
                queue.remove(waiter)
            raise

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
        self._dispatch()

    def _sleep_until_granted(self, waiter: _Waiter) -> None:
        started = time.monotonic()
        while not waiter.granted:
            still = time.monotonic() - max(started, self._moved)
            if still >= self._wait:
                raise NoPlaceError(
                    f"all {self.limit} connections were in use and none was given back for "
                    f"{self._wait:g} seconds"
                )
            if still >= self._collect_at:
                self._collect_at = 2 * still
                gc.collect()
            if still >= COMPLAIN_AFTER:
                self._complain(still)
            waiter.wake.wait(min(COLLECT_AFTER, self._wait - still))

    def _complain(self, still: float) -> None:
        now = time.monotonic()
        if now - self._complained >= COMPLAIN_AFTER:
            self._complained = now
            logger.warning(
                "database_connections: %d tasks wait for one of %d connections to PostgreSQL; "
                "none was given back for %.0f seconds. A task keeps its connection until it ends: "
                "call django.db.connection.close() before a long wait, or raise the setting.",
                self.waiting,
                self.limit,
                still,
            )

    def _grant(self, holder: int) -> None:
        reserve = self._most_each - 1
        if self._held[holder] and self._owner is None and self.limit - self.used <= reserve:
            self._owner = holder
        self.used += 1
        self._held[holder] += 1

    def _may_have(self, holder: int) -> bool:
        free = self.limit - self.used
        if free <= 0:
            return False
        if self._owner == holder or (self._owner is None and self._held[holder]):
            return True
        if self._owner is None:
            return free > self._most_each - 1
        return free > max(0, self._most_each - self._held[self._owner])

    def _dispatch(self) -> None:
        for waiter in list(self._seconds):
            if self._may_have(waiter.holder):
                self._seconds.remove(waiter)
                self._wake(waiter)
        while self._firsts and self._may_have(self._firsts[0].holder):
            self._wake(self._firsts.popleft())

    def _wake(self, waiter: _Waiter) -> None:
        self._grant(waiter.holder)
        waiter.granted = True
        waiter.wake.set()
