"""
Channels of results that have come are left together.

Celery leaves each as soon as its result is there: for a group that is joined, as many commands, and
as many answers to read, as it has tasks. Nothing is published to them any more, so that nothing
is lost by being late.
"""

from collections.abc import Iterator
from typing import Any, Final

import celery.backends.redis

#: Its type stubs know only the backends.
celerys: Any = celery.backends.redis

#: Channels left by one command while a result is awaited; the rest are left when none is.
BATCH: Final = 100

#: From 5.7 on Celery's consumer can be shared by threads, and has a lock.
_LOCKED: Final = hasattr(celerys.ResultConsumer, "_flush_pending_unsubscribe")


class Unsubscribing:
    """Mixed into Celery's consumer of results."""

    #: One for each who waits; a tuple, which threads may replace at once. It has no
    #: constructor: the producer gives this class to a consumer that exists.
    _waits: tuple[object, ...] = ()

    def on_after_fork(self: Any) -> None:
        """Forget who waits in the parent process."""
        self._waits = ()
        if not _LOCKED:
            empty: set[Any] = set()
            self._pending_unsubscribe = empty
        super().on_after_fork()  # type: ignore[misc]

    def _wait_for_pending(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Wait for a result, and for what waits with it."""
        mark = object()
        self._waits = (*self._waits, mark)
        try:
            yield from super()._wait_for_pending(*args, **kwargs)  # type: ignore[misc]
        finally:
            self._waits = tuple(each for each in self._waits if each is not mark)
            self._flush_pending_unsubscribe()

    def consume_from(self: Any, task_id: str) -> None:
        """Keep a channel that is to be left, and is wanted again."""
        if not _LOCKED:
            vars(self).get("_pending_unsubscribe", set()).discard(self._get_key_for_task(task_id))
        super().consume_from(task_id)  # type: ignore[misc]

    def cancel_for(self: Any, task_id: str) -> None:
        """Leave the channel of *task_id*, now or soon."""
        if _LOCKED:
            super().cancel_for(task_id)  # type: ignore[misc]
            return
        if "_pending_unsubscribe" not in vars(self):
            self._pending_unsubscribe = set()
        key = self._get_key_for_task(task_id)
        if key in self.subscribed_to:
            self.subscribed_to.discard(key)
            self._pending_unsubscribe.add(key)
        self._flush_pending_unsubscribe()

    def _flush_pending_unsubscribe(self: Any) -> None:
        pending = vars(self).get("_pending_unsubscribe")
        if not pending or (self._waits and len(pending) < BATCH):
            return
        if not _LOCKED:
            self._leave(_emptied(pending))
            return
        # As Celery does it, which says why.
        if self._lock_depth.value:
            return
        while pending and self._pubsub_lock.acquire(blocking=False):
            self._lock_depth.value += 1
            try:
                while pending:
                    keys = [key for key in _emptied(pending) if key in self.subscribed_to]
                    self.subscribed_to.difference_update(keys)
                    self._leave(keys)
            finally:
                self._lock_depth.value -= 1
                self._pubsub_lock.release()

    def _leave(self: Any, keys: list[Any]) -> None:
        if keys and self._pubsub:
            with self.reconnect_on_error():
                self._pubsub.unsubscribe(*keys)


def _emptied(keys: set[Any]) -> list[Any]:
    """Return what is in *keys*, and take it out; another thread may do so as well."""
    found = []
    while keys:
        try:
            found.append(keys.pop())
        except KeyError:
            break
    return found
