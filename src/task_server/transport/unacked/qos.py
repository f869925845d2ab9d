"""What is delivered and not acknowledged: register, acknowledge, hold, find what to restore."""

import logging
from collections import Counter, deque
from collections.abc import Collection, Container, Iterator, Sequence
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str

from task_server.transport.kombu_redis import redis
from task_server.transport.started.reporter import Telling
from task_server.transport.store import owner as holder
from task_server.transport.store import unreadable
from task_server.transport.store.dead_letters import Dead
from task_server.transport.store.scripts import DUE, HOLD, RUNS, UNREAD
from task_server.transport.unacked import unregistered
from task_server.transport.unacked.leases import copied
from task_server.transport.unacked.redeliver import CHILD_DIED, NO_SIGN_OF_LIFE, redeliver

if TYPE_CHECKING:
    from task_server.transport.channel import Channel

logger: Final = logging.getLogger(__name__)

#: Messages that one call restores or keeps alive.
BATCH: Final = 100


class QoS(redis.QoS):  # type: ignore[misc]
    """
    The unacked messages of one channel.

    Attributes:
        registered: Delivery tags that the script has registered and that the
            consumer has not seen yet.

        telling: Tells Redis which tasks have begun.

        lost: Delivery tags whose task has just taken its process with it; the
            worker says which.

        tells: Whether Redis hears which tasks have begun. If not, all that a
            dead worker held may be what it died of.
    """

    channel: "Channel"
    tells = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.registered: set[str] = set()
        self.lost: set[str] = set()
        self._acks: deque[str] = deque()
        self._sending: list[list[str]] = []
        self.telling = Telling(self.channel)
        self._awaited = unregistered.Awaited(self.channel)

    @staticmethod
    def running() -> Collection[str]:
        """
        Return the delivery tags of the messages whose tasks go on without their connection.

        A worker puts its own function in the place of this one. Such messages
        are held by the next connection, and not delivered again.
        """
        return ()

    @staticmethod
    def tasks() -> Container[str]:
        """
        Return the names of the tasks that this process registers, if it does.

        A worker puts its own function in the place of this one.
        """
        return ()

    @staticmethod
    def lost_lease(delivery_tags: Collection[str]) -> Collection[str]:
        """
        Hear of messages that others have now; return those whose tasks will not begin here.

        A worker puts its own function in the place of this one.
        """
        if delivery_tags:
            logger.warning("%d unacknowledged messages are others' now", len(delivery_tags))
        return ()

    @staticmethod
    def put_aside(channel: Any, one: Dead) -> None:
        """
        Hear of the message *one* of *channel*, which has just been put aside.

        A worker puts its own function in the place of this one.
        """

    def append(self, message: Any, delivery_tag: str) -> None:
        """
        Keep *message* until it is acknowledged.

        Kombu registers it in Redis here, after it was popped: a kill between
        the two loses the message. The script has done both at once.
        """
        if delivery_tag in self.registered:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    # Acknowledge

    def ack(self, delivery_tag: str) -> None:
        """
        Acknowledge a message, at once or with the fetch that follows.

        Kombu makes a call for each. While there is work the next fetch is due
        in the same turn of the loop, and takes the acknowledgements along.
        """
        channel = self.channel
        if channel.closed or channel.connection is None or channel.connection.client is None:
            # The connection broke while the task ran. The next one says it.
            channel.late.acks.append(delivery_tag)
        elif channel.batches_acks():
            self._acks.append(delivery_tag)
        else:
            try:
                self._send_acks([delivery_tag])
            except (*channel.connection_errors, channel.ResponseError) as error:
                # Kombu gives up here, and the task runs again. Without memory, or
                # room for its file, Redis refuses, which would end the worker.
                self._owe(delivery_tag, error)
        virtual.QoS.ack(self, delivery_tag)
        self.lost.discard(delivery_tag)
        channel.late.lease.forget(delivery_tag)
        self.telling.end(delivery_tag)
        self._tell_the_loop()

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's
        """Give a message back or drop it; the freed place is news for the loop."""
        lost = delivery_tag in self.lost
        self.lost.discard(delivery_tag)
        try:
            if requeue and self._is_lost(delivery_tag):
                virtual.QoS.ack(self, delivery_tag)
                self.channel.late.lease.forget(delivery_tag)
            elif requeue and lost:
                redeliver(self.channel, [delivery_tag], leftmost=True, death=CHILD_DIED)
                virtual.QoS.ack(self, delivery_tag)
            else:
                super().reject(delivery_tag, requeue=requeue)
        except self.channel.ResponseError as error:
            # As an acknowledgement; of who died of it nothing is known then.
            if requeue:
                logger.warning("a message will be given back later: %s", error)
                self.channel.late.restores.append((delivery_tag, monotonic()))
            else:
                self._owe(delivery_tag, error)
            virtual.QoS.ack(self, delivery_tag)
        self._tell_the_loop()

    def refuse(self, delivery_tag: str, reason: str) -> None:
        """
        Put a message aside that cannot be delivered for *reason*.

        Raises:
            One of the connection's errors.
        """
        try:
            unreadable.put_aside(self.channel, [delivery_tag], reason)
        except self.channel.ResponseError as refused:
            logger.error(  # noqa: TRY400 - Redis's words say it all
                "a message stays unacked (%s) that cannot be delivered: %s",
                *(refused, unreadable.told(reason)),
            )
        if delivery_tag in self._delivered:
            virtual.QoS.ack(self, delivery_tag)
        self._tell_the_loop()

    def put_unregistered(self, delivery_tag: str, task: str, id_: str) -> None:
        """
        Put a message aside whose *task* no code of this worker registers, see `unregistered`.

        Raises:
            One of the connection's errors.
        """
        try:
            unregistered.put_aside(self.channel, delivery_tag, (task, id_))
        except self.channel.ResponseError as refused:
            logger.error("a message stays unacked: %s", refused)  # noqa: TRY400 - as above
        if delivery_tag in self._delivered:
            virtual.QoS.ack(self, delivery_tag)
        self._tell_the_loop()

    def _owe(self, delivery_tag: str, error: Exception) -> None:
        """Keep an acknowledgement that could not be sent, and say so of the first."""
        level = logging.DEBUG if self.has_acks else logging.WARNING
        logger.log(level, "an acknowledgement will be sent again: %s", error)
        self.keep_acks([delivery_tag])

    def _tell_the_loop(self) -> None:
        # A greenlet or thread that acknowledges frees a place; the loop waits
        # in its poll and would notice after its time-out of two seconds.
        cycle = self.channel.cycle_of_connection()
        if cycle is not None and cycle.owner not in (None, get_ident()):
            cycle.wake()

    @property
    def has_acks(self) -> bool:
        """Whether acknowledgements wait to be sent."""
        return bool(self._acks or self.channel.late.acks)

    def take_acks(self, most: int) -> list[str]:
        """Return up to *most* waiting acknowledgements, which are the caller's now."""
        taken: list[str] = []
        for source in (self.channel.late.acks, self._acks):
            while source and len(taken) < most:
                taken.append(source.popleft())
        if taken:
            self._sending.append(taken)
        return taken

    def acks_arrived(self, taken: list[str]) -> None:
        """Hear that the server has what `take_acks` returned."""
        if taken in self._sending:
            self._sending.remove(taken)

    @property
    def owed_acks(self) -> Iterator[str]:
        """The acknowledgements that are not known to have arrived; any thread may ask."""
        yield from copied(self._acks)
        yield from copied(self.channel.late.acks)
        for taken in copied(self._sending):
            yield from taken

    def keep_acks(self, tags: list[str]) -> None:
        """
        Take back acknowledgements that may not have reached the server.

        They are this process's from now on: while a greenlet was trying to send
        them another may have closed the channel, and nobody asks it again.
        """
        self.channel.late.acks.extend(tags)
        self.acks_arrived(tags)

    def flush_acks(self) -> None:
        """
        Send all waiting acknowledgements now.

        Those that Redis refuses, without memory or room for its file, are kept
        for later.

        Raises:
            One of the connection's errors; the acknowledgements are kept.
        """
        while tags := self.take_acks(1000):
            try:
                self._send_acks(tags)
                self.acks_arrived(tags)
            except self.channel.ResponseError as error:
                self.keep_acks(tags)
                logger.debug("acknowledgements will be sent again: %s", error)
                return
            except BaseException:
                self.keep_acks(tags)
                raise

    def _send_acks(self, tags: Sequence[str]) -> None:
        hash_key, index_key = self.channel.unacked_keys()
        with self.channel.bare_client().pipeline() as pipe:
            pipe.zrem(index_key, *tags).hdel(hash_key, *tags).execute()

    def leave_acks(self) -> None:
        """Hand waiting acknowledgements to the next connection of this process."""
        self.channel.late.acks.extend(self._acks)
        self._acks.clear()

    # Hold

    @property
    def holds(self) -> bool:
        """Whether this worker has messages that it has not acknowledged."""
        return bool(self._delivered or self.channel.fetcher.held or self.running())

    def hold(self) -> None:
        """
        Tell the server that this worker still has its messages.

        Kombu counts the visibility time-out from the delivery, so that an ETA
        or a task longer than it is run again and again. Counted from the last
        sign of life, a message comes back when its worker is dead or its loop
        hangs, and only then. What another restored is not taken back.

        The messages of tasks that have outlived their connection are held as well.
        """
        if self.channel.lease_length:
            self.channel.late.lease.hold(self.channel, self.running())
            self.channel.settle()
        else:
            self._hold()
        if self.tells:
            self.telling.hold()

    def _hold(self) -> None:
        held = [tag for tag in tuple(self._delivered) if tag not in self._dirty]
        held.extend(message.tag for message in tuple(self.channel.fetcher.held))
        held.extend(self.running())
        for first in range(0, len(held), BATCH * 10):
            tags = held[first : first + BATCH * 10]
            HOLD.run(self.channel.bare_client(), self.channel.unacked_keys()[1:], ["0", *tags])

    def forget_lost(self, tags: set[str]) -> set[str]:
        """
        Let the worker hear which of its messages others have now; return those that it runs.

        They stay lost: they are never given back. An acknowledgement of one is
        sent all the same: the task was done, and a second run that is killed
        need not be followed by a third.
        """
        mine = {tag for tag in tags if tag in self._delivered and tag not in self._dirty}
        mine.update(tags.intersection(self.running()))
        forgotten = set(self.lost_lease(mine))
        for tag in forgotten:
            virtual.QoS.ack(self, tag)
        return mine - forgotten

    def may_begin(self, delivery_tag: str) -> bool:
        """
        Return whether the task of a message may begin: that it is certainly still held here.

        While Redis does not answer, and the lease may be over, it may not.
        """
        channel = self.channel
        lease = channel.late.lease
        if lease.is_settled:
            return True
        if not channel.closed and channel.connection is not None and channel.connection.client:
            try:
                channel.settle()
            except channel.connection_errors:
                return False
        return lease.is_sure and delivery_tag not in lease.lost

    # Restore

    def restore_visible(
        self,
        start: int = 0,
        num: int | None = None,
        interval: int | None = 10,
        grace: float = 0.0,
    ) -> None:
        """
        Deliver messages again whose worker gave no sign of life for too long.

        Each *interval*-th call does it. Kombu takes a lock of 300 s first,
        which a killed holder leaves behind, so that nobody restores for that
        long; the script needs none.

        Args:
            grace: Seconds to wait after Redis was not there, for the living to
                come back and say so; what is left of them the channel keeps.
        """
        self._vrestore_count += 1
        if (self._vrestore_count - 1) % (interval or 1):
            return
        channel = self.channel
        unacked, times = channel.unacked_keys()
        lease = (channel.lease_length or "", min(grace, channel.lease_grace))
        while True:
            limits = (channel.restore_gap, grace, start, num or BATCH, *lease)
            left, latest, seen, *due = self._due((times, unacked), limits)
            until = _times(due)
            count = redeliver(
                channel,
                list(until),
                latest=float(latest),
                death=NO_SIGN_OF_LIFE,
                until=until,
            )
            channel.grace_left = float(left)
            if num or not seen:
                return
            # Those that are not due, or cannot be delivered, stay, and must not
            # hide the others.
            start += int(seen) - count

    def _due(self, keys: Sequence[str], limits: Sequence[Any]) -> list[Any]:
        """Return the answer of the script, without what is for its next call alone."""
        channel = self.channel
        looks, late = channel.looks_key, channel.late
        arguments = (self.visibility_timeout, *limits, looks, *late.looks)
        answer = DUE.run(channel.bare_client(), keys, arguments)
        *found, since, last, problem = answer[:6]
        late.looks = (since, last)
        if problem:
            channel.problems.optional(looks, bytes_to_str(problem))
        return [*found, *answer[6:]]

    def restore_runs(self, runs: Collection[str]) -> None:
        """Deliver again what the processes *runs* had, which are known to be dead."""
        channel = self.channel
        client, count = channel.bare_client(), 0
        marks = [f'"run": "{run}"' for run in runs]
        start = 0
        while True:
            seen, *found = RUNS.run(client, channel.unacked_keys(), [start, BATCH * 10, *marks])
            until = _times(found)
            tags, start = list(until), start + int(seen)
            for first in range(0, len(tags), BATCH):
                batch = tags[first : first + BATCH]
                back = redeliver(channel, batch, death=NO_SIGN_OF_LIFE, until=until)
                count, start = count + back, start - back
            if not seen:
                break
        if count:
            logger.info(
                "%d messages of %d workers that died on this host are delivered again",
                *(count, len(runs)),
            )

    def restore_registered(self) -> None:
        """Deliver what was put aside while no worker registered its task, and this one does."""
        channel = self.channel
        try:
            back = self._awaited.requeue()
        except channel.ResponseError as error:
            channel.problems.optional(channel.dead_key, str(error))
            return
        for task, count in Counter(one.task for one in back).items():
            logger.info("%d messages of %s, which this worker registers, are back", count, task)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - Kombu's
        """
        Deliver one message again.

        Kombu watches the whole hash of unacked messages and starts again each
        time any worker changes it, under load without an end.
        """
        if not self._is_lost(bytes_to_str(tag)):
            redeliver(self.channel, [bytes_to_str(tag)], leftmost=leftmost)

    def _is_lost(self, tag: str) -> bool:
        """Return whether another worker has the message, so that it is not this one's to give."""
        self.channel.settle()
        return tag in self.channel.late.lease.lost

    def give_back(self, tag: str) -> None:
        """Put one message back to where it was taken from, as if it never was."""
        redeliver(self.channel, [tag], unchanged=True)

    def restore_unacked(self, client: Any = None) -> None:  # noqa: ARG002 - Kombu's
        """
        Deliver the messages of this channel again, a hundred a call.

        Those of tasks that run on are left: they are acknowledged through the
        next connection. What Redis does not take now it gets from that one.
        """
        running, lease = self.running(), self.channel.late.lease
        lease.running = frozenset(running)
        tags = [tag for tag in self._delivered if tag not in running and tag not in lease.lost]
        self._delivered.clear()
        # From the newest: the oldest is then the next to be taken.
        tags.reverse()
        while tags:
            now = monotonic()
            try:
                # It may have been stopped meanwhile, for longer than its lease.
                tags = [tag for tag in tags if not self._is_lost(tag)]
                redeliver(self.channel, tags[:BATCH], unchanged=True)
            except BaseException:
                self.channel.late.restores.extend((tag, now) for tag in tags)
                raise
            del tags[:BATCH]

    def restore_late(self) -> None:
        """Deliver again what earlier connections could not, unless another worker did."""
        self._restore_unread()
        late = self.channel.late.restores
        while late:
            batch = [late.popleft() for _ in range(min(BATCH, len(late)))]
            try:
                # The server's clock then: what another has taken since is its own.
                seconds, micros = self.channel.bare_client().time()
                age = monotonic() - max(moment for _, moment in batch)
                latest = seconds + micros / 1e6 - age
                tags = [tag for tag, _ in batch]
                redeliver(self.channel, tags, latest=latest, unchanged=True)
            except BaseException:
                late.extendleft(reversed(batch))
                raise

    def _restore_unread(self) -> None:
        """Deliver again what was fetched for this process in replies that it did not get."""
        fetches = self.channel.late.fetches
        client = self.channel.bare_client()
        for at, until in tuple(fetches):
            mark = holder.written(at, tells=self.tells, lease=self.channel.lease_length)
            if found := UNREAD.run(client, self.channel.unacked_keys(), [mark]):
                latest, *tags = found
                those = [bytes_to_str(tag) for tag in tags]
                redeliver(self.channel, those, latest=float(latest), unchanged=True)
            if monotonic() > until and (at, until) in fetches:
                fetches.remove((at, until))

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """
        Deliver again, at the end, what is not acknowledged.

        With Redis gone that fails; in Kombu the error then ends a worker that
        would have connected again. The next connection of this process does
        it; without one they come back after the visibility time-out.
        """
        try:
            super().restore_unacked_once(stderr)
        except (*self.channel.connection_errors, self.channel.ResponseError) as error:
            logger.warning(
                "%d messages could not be given back (%s); they are when Redis is there again, or "
                "else %g s after this worker's last sign of life",
                *(len(self.channel.late.restores), error, self.channel.silence),
            )


def _times(found: Sequence[bytes]) -> dict[str, float]:
    """Return the time of each delivery tag of *found*, which has them in turn."""
    pairs = zip(found[::2], found[1::2], strict=True)
    return {bytes_to_str(tag): float(when) for tag, when in pairs}
