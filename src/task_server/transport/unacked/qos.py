"""Kombu's QoS: what consumers have, acknowledge and requeue."""

import logging
from collections.abc import Callable, Collection, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from redis.exceptions import ResponseError

from task_server.transport.kombu_redis import redis
from task_server.transport.store import unreadable
from task_server.transport.store.excerpt import excerpt
from task_server.transport.unacked.redeliver import CHILD_LOST

if TYPE_CHECKING:
    from task_server.transport.unacked.unacked import Unacked

logger: Final = logging.getLogger(__name__)


class QoS(redis.QoS):  # type: ignore[misc]
    """
    The unacked messages of one channel.

    Attributes:
        unacked: The parts that do the work.

        lost: Delivery tags of tasks that have just crashed their child; the worker
            adds them.

        before_ack: What to call before the message of a delivery tag is acknowledged or
            dropped; not if it is requeued. The worker adds them.
    """

    unacked: "Unacked"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unacked = self.channel.unacked
        self.unacked.delivered.share(self._delivered, self._dirty)
        # What Kombu calls for each message that is acknowledged or rejected.
        self._quick_ack = self.unacked.delivered.forget
        self.lost: set[str] = set()
        self.before_ack: dict[str, Callable[[], None]] = {}

    @property
    def reporter(self) -> Any:
        """Reports which tasks have started."""
        return self.unacked.reporter

    @property
    def has_unacked(self) -> bool:
        """Whether this worker has messages that it has not acknowledged."""
        return self.unacked.ownership.has_unacked

    def append(self, message: Any, delivery_tag: str) -> None:
        """
        Keep *message* until it is acknowledged.

        Kombu registers it in Redis here, after popping it: a kill between the two
        loses the message. The script has done both at once.
        """
        if delivery_tag in self.unacked.delivered.registered:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def can_consume(self) -> bool:
        """Return whether a consumer has room for one more: by their number, and their bytes."""
        if not super().can_consume() or self.unacked.delivered.size.is_full:
            return False
        room = self.unacked.hooks.room()
        # Remote control, which no list brings, needs none.
        return room is None or room > 0 or not self.channel.active_queues

    # Acknowledge

    def ack(self, delivery_tag: str) -> None:
        """
        Acknowledge a message, at once or with the fetch that follows.

        Kombu makes a call for each. While there is work the next fetch is due
        in the same turn of the loop, and takes the acknowledgements along.
        """
        unacked = self.unacked
        if self.before_ack:
            self._prepare_ack(delivery_tag)
        unacked.acks.add(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)
        self.lost.discard(delivery_tag)
        unacked.ownership.lease.forget(delivery_tag)
        unacked.reporter.end(delivery_tag)
        unacked.link.wake()

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's
        """Requeue or drop a message, and wake the loop: there is room for another."""
        unacked = self.unacked
        if self.before_ack:
            if requeue:
                self.before_ack.pop(delivery_tag, None)
            else:
                self._prepare_ack(delivery_tag)
        is_child_lost = delivery_tag in self.lost
        self.lost.discard(delivery_tag)
        try:
            if requeue and unacked.ownership.is_lost(delivery_tag):
                virtual.QoS.ack(self, delivery_tag)
                unacked.ownership.lease.forget(delivery_tag)
            elif requeue and is_child_lost:
                unacked.redelivery.redeliver([delivery_tag], leftmost=True, crash=CHILD_LOST)
                virtual.QoS.ack(self, delivery_tag)
            else:
                super().reject(delivery_tag, requeue=requeue)
        except ResponseError as error:
            # Retried as an acknowledgement is; that it crashed a child is then not recorded.
            if requeue:
                logger.warning("Redis rejected a requeue, which is retried: %s", error)
                unacked.pending.restores.append((delivery_tag, monotonic()))
            else:
                unacked.acks.defer(delivery_tag, error)
            virtual.QoS.ack(self, delivery_tag)
        unacked.link.wake()

    def _prepare_ack(self, delivery_tag: str) -> None:
        prepare = self.before_ack.pop(delivery_tag, None)
        # Another worker that has it runs the task again.
        if prepare is not None and delivery_tag not in self.unacked.ownership.lease.lost:
            prepare()

    def move_to_unreadable(self, delivery_tag: str, reason: str) -> None:
        """
        Move a message that cannot be delivered, for *reason*, to the unreadable messages.

        Raises:
            One of the connection's errors.
        """
        try:
            unreadable.move(self.unacked.store, [delivery_tag], reason)
        except ResponseError as refused:
            logger.error(  # noqa: TRY400 - the error of Redis is enough
                "a message that cannot be delivered stays unacked (%s): %s",
                *(refused, excerpt(reason)),
            )
        self._forget(delivery_tag)

    def refuse_unregistered(self, delivery_tag: str, task: str, id_: str) -> None:
        """
        Make a message a dead letter whose *task* no code of this worker registers.

        Raises:
            One of the connection's errors.
        """
        try:
            self.unacked.unregistered.add(delivery_tag, (task, id_))
        except ResponseError as refused:
            logger.error("a message stays unacked: %s", refused)  # noqa: TRY400 - as above
        self._forget(delivery_tag)

    def _forget(self, delivery_tag: str) -> None:
        if delivery_tag in self._delivered:
            virtual.QoS.ack(self, delivery_tag)
        self.unacked.link.wake()

    # Own

    def may_start(self, delivery_tag: str) -> bool:
        """
        Return whether the task of a message may start: that it is certainly still owned here.

        While Redis does not answer, and the lease may have expired, it may not.
        """
        ownership = self.unacked.ownership
        lease = ownership.lease
        if lease.is_settled:
            return True
        if self.unacked.link.is_connected():
            try:
                ownership.settle()
            except self.unacked.store.connection_errors:
                return False
        return lease.is_sure and delivery_tag not in lease.lost

    def renew(self) -> None:
        """Renew all messages, and report which tasks run."""
        self.unacked.ownership.renew()
        if self.unacked.hooks.reports_started:
            self.unacked.reporter.sync()

    def hand_back(self, tags: Sequence[str]) -> None:
        """
        Requeue the messages of *tags*, whose tasks will not start here, as if never fetched.

        Args:
            tags: The oldest first; it is the next to be fetched afterwards.
        """
        unacked, now = self.unacked, monotonic()
        tags = list(dict.fromkeys(tags))
        own = [tag for tag in reversed(tags) if not unacked.ownership.is_lost(tag)]
        # No renewal, and no second requeue, from here on.
        for tag in tags:
            virtual.QoS.ack(self, tag)
            unacked.ownership.lease.forget(tag)
            unacked.reporter.end(tag)
        try:
            unacked.redelivery.redeliver(own, unchanged=True)
        except unacked.store.errors as error:
            logger.warning("%d messages are handed back later: %s", len(own), error)
            unacked.pending.restores.extend((tag, now) for tag in own)
        unacked.link.wake()

    # Restore

    def restore_visible(
        self,
        start: int = 0,
        num: int | None = None,
        interval: int | None = 10,
        grace: float = 0.0,
    ) -> None:
        """Redeliver messages of dead workers, at each *interval*-th call."""
        self._vrestore_count += 1
        if (self._vrestore_count - 1) % (interval or 1) == 0:
            self.unacked.restore.expired(start, num, grace)

    def restore_runs(self, runs: Collection[str]) -> None:
        """Redeliver the messages of the dead processes *runs*."""
        self.unacked.restore.runs(runs)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - Kombu's
        """Redeliver one message."""
        self.unacked.restore.one(bytes_to_str(tag), leftmost=leftmost)

    def requeue_unchanged(self, tag: str) -> None:
        """Requeue one message to where it was fetched from, as if it had never been fetched."""
        self.unacked.redelivery.redeliver([tag], unchanged=True)

    def restore_unacked(self, client: Any = None) -> None:  # noqa: ARG002 - Kombu's
        """Redeliver the messages of this channel, except those of tasks that still run."""
        self.unacked.restore.unacked(self.unacked.delivered)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """
        Redeliver the unacknowledged messages when the channel closes.

        Without Redis that fails; in Kombu the error ends a worker that would have
        reconnected. Here the next connection of this process does it; without one
        the messages are redelivered after the visibility timeout.
        """
        unacked = self.unacked
        try:
            super().restore_unacked_once(stderr)
        except unacked.store.errors as error:
            logger.warning(
                "%d messages could not be requeued (%s); they are when Redis is back, or at the "
                "latest %g s after this worker's last lease renewal",
                *(len(unacked.pending.restores), error, unacked.timing.expires_after),
            )
