"""
The limit: how many connections may be in use at once, and who gets the next.

`slots` decides which waiter is next, `stalls` what happens while no slot is
released. Everything here runs in the thread of gevent's loop.
"""

from typing import TYPE_CHECKING, Any

from task_server.worker.database.slots import Slots
from task_server.worker.database.stalls import RESERVE_AFTER, Stall, StallWatcher

if TYPE_CHECKING:
    from collections.abc import Callable


class ConnectionLimiter:
    """
    Grant *limit* slots, never more.

    Args:
        limit: Slots in all.

        per_task: How many slots one holder may need at once; that many are
            promised without deadlock. Must not exceed *limit*.

        timeout: Seconds to wait while no slot is released at all. As long as
            slots move, a waiter keeps waiting: its turn comes.

        reserve_after: Seconds without a slot released after which the reserve
            is granted.
    """

    def __init__(
        self, limit: int, per_task: int, timeout: float, *, reserve_after: float = RESERVE_AFTER
    ) -> None:
        self._slots = Slots(limit, per_task)
        self._watcher = StallWatcher(self._slots, timeout, reserve_after)

    @property
    def limit(self) -> int:
        """Slots in all."""
        return self._slots.limit

    @property
    def reserve(self) -> int:
        """How many slots are kept for when nothing moves."""
        return self._slots.reserve

    @property
    def used(self) -> int:
        """How many slots are in use."""
        return self._slots.used

    @property
    def waiting(self) -> int:
        """How many greenlets wait for a slot."""
        return self._slots.waiting

    @property
    def stalled_for(self) -> float:
        """Seconds for which greenlets have waited and no slot was released."""
        return self._slots.stalled_for

    @property
    def on_stall(self) -> "Callable[[], None] | None":
        """Called when no slot was released for `reserve_after`; may release some."""
        return self._watcher.on_stall

    @on_stall.setter
    def on_stall(self, callback: "Callable[[], None] | None") -> None:
        self._watcher.on_stall = callback

    def stall(self) -> "Stall | None":
        """Return why the slots do not move; None while they do."""
        return self._watcher.stall()

    def greenlet_of(self, holder: int) -> Any:
        """Return the greenlet that *holder* names; None if it is gone or unknown."""
        return self._slots.greenlet_of(holder)

    def acquire(self, holder: int, greenlet: Any = None) -> None:
        """
        Take a slot for *holder*, the id of *greenlet*; wait for one.

        Raises:
            NoSlotError: No slot was released for `timeout` seconds, or the
                holders of the slots wait for this one.
        """
        waiter = self._slots.enqueue(holder, greenlet)
        if waiter.granted:
            return
        self._watcher.start()
        try:
            waiter.wakeup.wait()
        except BaseException:
            # A greenlet may be killed between the grant and its waking up;
            # the slot is then already ours, and goes to the next.
            if waiter.granted:
                self.release(holder)
            elif waiter.error is None:
                self._slots.remove(waiter)
            raise
        if waiter.error is not None:
            raise waiter.error

    def force_acquire(self) -> None:
        """
        Take a slot at once, past the queue and for no holder.

        Only for closing an idle connection: that connection left room for one
        slot, so the sum stays within the limit.
        """
        self._slots.used += 1

    def release(self, holder: int | None) -> None:
        """Release one slot of *holder* (None: a forced one); wake the next waiter."""
        self._watcher.on_release()
        self._slots.release(holder)
