"""When one channel returns delayed tasks that are due to their queues."""

from collections.abc import Sequence
from typing import Final

from task_server.transport.store.client import Store
from task_server.transport.store.scripts import DUE
from task_server.transport.unacked.native import clock

#: Seconds between two fetches of a busy worker that return what is due.
INTERVAL: Final = 0.1

#: Seconds after its last fetch until a worker counts as full.
FULL_AFTER: Final = 0.25


class Due:
    """The returns of one channel: with a fetch now and then, or without while it is full."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fetched_at = self._returned_at = 0.0

    def with_fetch(self) -> str:
        """Return '1' if the fetch that is about to be sent returns what is due; else '0'."""
        self._fetched_at = clock()
        if self._fetched_at - self._returned_at < INTERVAL:
            return "0"
        self._returned_at = self._fetched_at
        return "1"

    def reset(self) -> None:
        """Let the next fetch return what is due: the worker idles until then."""
        self._returned_at = 0.0

    def without_fetch(self, lists: Sequence[str]) -> None:
        """
        Return what is due to *lists*, if there was no fetch for a while: others may have room.

        A key that cannot be used is logged by the next fetch.
        """
        if clock() - self._fetched_at > FULL_AFTER:
            DUE.run(self._store.client, (), (self._store.keys.delayed, *lists))
