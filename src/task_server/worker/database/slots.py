"""
Slots for connections: how many each greenlet has, which ones wait, and which is next.

A greenlet that has none waits in order of arrival. A greenlet that has one and
asks for a second (another alias) would deadlock with others like it once all
slots are taken, so `per_task - 1` of them are kept for one such greenlet at a
time, the *priority holder*: it can always get all it needs, ends, and releases
everything. A project with one PostgreSQL alias keeps nothing back.

A quarter of the slots, at least one, is a *reserve*, granted when nothing
moves (see `stalls`). A limit that the aliases of one greenlet use up (a limit
of 1) leaves no reserve.
"""

import time
from collections import Counter, deque
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from gevent.event import Event


class NoSlotError(Exception):
    """Raised when no slot was released for as long as a task may wait for one."""


@dataclass(slots=True, eq=False)
class Waiter:
    """One wait for a slot."""

    holder: int
    since: float
    granted: bool = False
    error: NoSlotError | None = None
    wakeup: Event = field(default_factory=Event)


class Slots:
    """
    *limit* slots; one holder may need *per_task* of them at once.

    A *holder* is any number, here the id of a greenlet; only a weak reference
    to the greenlet is kept, as a strong one would keep its connection alive.
    """

    def __init__(self, limit: int, per_task: int) -> None:
        self.limit = limit
        self.reserve = max(0, min(max(1, limit // 4), limit - per_task))
        self.used = 0
        self._per_task = per_task
        self._by_holder: Counter[int] = Counter()
        self._greenlets: WeakValueDictionary[int, Any] = WeakValueDictionary()
        self._priority_holder: int | None = None
        #: Waiters for their first slot, and waiters for one more.
        self._first: deque[Waiter] = deque()
        self._more: deque[Waiter] = deque()
        #: When a slot was last released, and when the present waiting began (monotonic).
        self.released_at = self.waiting_since = time.monotonic()

    @property
    def waiting(self) -> int:
        """How many greenlets wait for a slot."""
        return len(self._first) + len(self._more)

    @property
    def waiters(self) -> list[Waiter]:
        """The waiters, next first."""
        return [*self._more, *self._first]

    @property
    def holders(self) -> dict[int, Any]:
        """The greenlets that have a slot, by holder; None where the greenlet is unknown."""
        return {holder: self.greenlet_of(holder) for holder in self._by_holder}

    @property
    def stalled_for(self) -> float:
        """Seconds for which greenlets have waited and no slot was released."""
        return time.monotonic() - self.stalled_since if self.waiting else 0.0

    @property
    def stalled_since(self) -> float:
        """Since when greenlets have waited and no slot was released, if some wait."""
        return max(self.released_at, self.waiting_since)

    def greenlet_of(self, holder: int) -> Any:
        """Return the greenlet that *holder* names; None if it is gone or unknown."""
        return self._greenlets.get(holder)

    def enqueue(self, holder: int, greenlet: Any) -> Waiter:
        """Have *holder* wait for a slot, which it may get at once."""
        if greenlet is not None:
            self._greenlets[holder] = greenlet
        queue = self._more if self._by_holder[holder] else self._first
        waiter = Waiter(holder, time.monotonic())
        if not self.waiting:
            self.waiting_since = waiter.since
        queue.append(waiter)
        self._grant_free()
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Remove *waiter* from its queue."""
        (self._more if waiter in self._more else self._first).remove(waiter)

    def abort(self, waiter: Waiter, reason: str) -> None:
        """End the wait of *waiter* with an error."""
        self.remove(waiter)
        waiter.error = NoSlotError(reason)
        waiter.wakeup.set()

    def release(self, holder: int | None) -> None:
        """Take one slot back from *holder* (None: one that no greenlet has); grant what is free."""
        self.used -= 1
        if holder is not None:
            self._by_holder[holder] -= 1
            if self._by_holder[holder] <= 0:
                del self._by_holder[holder]
        # With one slot or none left it needs no more than any other.
        if self._priority_holder is not None and self._by_holder[self._priority_holder] <= 1:
            self._priority_holder = None
        self.released_at = time.monotonic()
        self._grant_free()

    def prioritize(self, holders: AbstractSet[int]) -> None:
        """Move the waiters of *holders* to the front."""
        for queue in (self._more, self._first):
            ordered = sorted(queue, key=lambda waiter: waiter.holder not in holders)
            queue.clear()
            queue.extend(ordered)

    def may_use_reserve(self, holder: int) -> bool:
        """Whether a slot is left for *holder*, the reserve included."""
        return self._may_have(holder, self.limit - self.used)

    def grant(self, waiter: Waiter) -> None:
        """Give *waiter* a slot and wake it."""
        self.remove(waiter)
        holder = waiter.holder
        if (
            self._by_holder[holder]
            and self._priority_holder is None
            and self._free <= self._per_task - 1
        ):
            self._priority_holder = holder
        self.used += 1
        self._by_holder[holder] += 1
        waiter.granted = True
        waiter.wakeup.set()

    @property
    def _free(self) -> int:
        """How many slots are free, without the reserve."""
        return self.limit - self.reserve - self.used

    def _may_have(self, holder: int, free: int) -> bool:
        if free <= 0:
            return False
        priority = self._priority_holder
        if priority == holder or (priority is None and self._by_holder[holder]):
            return True
        if priority is None:
            return free > self._per_task - 1
        return free > max(0, self._per_task - self._by_holder[priority])

    def _grant_free(self) -> None:
        for waiter in list(self._more):
            if self._may_have(waiter.holder, self._free):
                self.grant(waiter)
        while self._first and self._may_have(self._first[0].holder, self._free):
            self.grant(self._first[0])
