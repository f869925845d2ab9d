"""Whether this process still owns the messages of one channel."""

import logging
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import ResponseError

from task_server.transport.hooks import Hooks
from task_server.transport.store.client import Store
from task_server.transport.store.scripts import BATCH, RENEW
from task_server.transport.timing import Timing
from task_server.transport.unacked.acks import Acks
from task_server.transport.unacked.delivered import Delivered
from task_server.transport.unacked.leases import Lease
from task_server.transport.unacked.native import clock, copied
from task_server.transport.unacked.prefetched import Prefetched

logger: Final = logging.getLogger(__name__)


class Ownership:
    """
    The messages of one channel and their leases; a member of the process's lease.

    Args:
        new_pool: Returns a new pool like the channel's.

        is_polled: Whether the channel is open, and its connection polled.
    """

    def __init__(
        self,
        store: Store,
        timing: Timing,
        lease: Lease,
        hooks: Hooks,
        *,
        delivered: Delivered,
        prefetched: Prefetched,
        acks: Acks,
        new_pool: Callable[[], Any],
        is_polled: Callable[[], bool],
    ) -> None:
        self.lease = lease
        self._store = store
        self._timing = timing
        self._hooks = hooks
        self._delivered = delivered
        self._prefetched = prefetched
        self._acks = acks
        self._new_pool = new_pool
        self._is_polled = is_polled
        self._has_joined = False

    @property
    def has_unacked(self) -> bool:
        """Whether there is anything that is not acknowledged."""
        return bool(self._delivered or self._prefetched or self._hooks.running())

    # Check

    def settle(self) -> bool:
        """
        Return whether this process certainly owns all of it, so that it may start.

        If unsure, ask Redis; drop messages that others own by then, and inform the worker.

        Raises:
            One of the connection's errors.
        """
        lease = self.lease
        if not self._timing.lease or (self._has_joined and lease.is_settled):
            return True
        if not self._is_polled():
            return lease.is_sure
        lease.join(self, self._store.keys, self._timing, self._new_pool)
        self._has_joined = True
        try:
            lease.make_sure(self._store.client)
        except ResponseError as error:
            logger.debug("Redis did not answer what this worker owns: %s", error)
            return False
        if unreported := lease.lost - lease.reported:
            running = [tag for member in lease.members() for tag in member.forget_lost(unreported)]
            lease.reported.update(running)
            lease.lost -= unreported.difference(running)
        return True

    def is_lost(self, tag: str) -> bool:
        """Return whether another worker owns the message of *tag*; ask Redis if unsure."""
        self.settle()
        return tag in self.lease.lost

    def tags(self) -> set[str]:
        """Return the delivery tags of all that is not acknowledged; any thread may ask."""
        # In the order in which the loop moves them, which adds before it removes: so
        # whatever it does meanwhile, each is found where it is or where it goes.
        tags = {message.delivery_tag for message in copied(self._prefetched)}
        tags.update(copied(self._delivered.registered))
        tags.update(self._delivered.unacked())
        # Of finished tasks; the event loop may be blocked for long.
        tags.update(self._acks.unconfirmed)
        tags.update(self._hooks.held())
        return tags

    # Renew

    def renew(self) -> None:
        """
        Extend the leases of the messages that this worker has.

        Kombu counts the visibility timeout from the delivery, so that an ETA or a
        task longer than it is run again and again. Counted from the last renewal,
        a message is redelivered when its worker is dead or its loop hangs, and
        only then. What another worker restored stays with that one.

        The messages of tasks that have outlived their connection are renewed as well.
        """
        running = self._hooks.running()
        if self._timing.lease:
            self.lease.renew_if_overdue(self._store.client, running)
            self.settle()
            return
        tags = list(self.tags().union(running))
        for first in range(0, len(tags), BATCH * 10):
            batch = tags[first : first + BATCH * 10]
            RENEW.run(self._store.client, [self._store.keys.times], ["0", *batch])

    def leave(self) -> None:
        """Stop renewing: the channel closes."""
        self.lease.leave(self)

    # Forget

    def check_fetched(self, since: float) -> None:
        """
        Drop what others own by now, if the fetch was sent long ago: *since*, by the lease's clock.

        The loop was blocked, or the process stopped, while the reply waited.

        Raises:
            One of the connection's errors.
        """
        lease, seconds = self.lease, self._timing.lease
        if lease.lost:
            for known in (lease.lost, lease.reported):
                known.difference_update(message.delivery_tag for message in self._prefetched)
        if seconds and clock() - since > seconds / 2:
            tags = [message.delivery_tag for message in self._prefetched]
            self._prefetched.drop(set(lease.lost_of(self._store.client, tags)))

    def forget_lost(self, tags: set[str]) -> set[str]:
        """
        Inform the worker which of its messages others own; return those that it runs.

        They stay lost: they are never requeued. An acknowledgement of one is sent
        all the same: the task was done, and a second run that is killed need not
        be followed by a third.
        """
        self._prefetched.drop(tags)
        own = {tag for tag in tags if self._delivered.owns(tag)}
        own.update(tags.intersection(self._hooks.running()))
        forgotten = set(self._hooks.on_lost_leases(own))
        for tag in forgotten:
            self._delivered.forget(tag)
        return own - forgotten
