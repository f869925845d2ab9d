"""
Fetches the messages of one channel, waits for more, and has them delivered.

    fetching --reply with messages--> prefetched --all delivered--> fetching
    fetching --reply without: 'watch'--> tracking --nothing there--> watching
    fetching --reply without: 'wait'---> waiting (for the wakeup token)
    watching --notification, or the time is over--> fetching
    waiting  --got the token, or the time is over-> fetching

While fetching, tracking and waiting, a command is pending on the connection that
Kombu uses for BRPOP; otherwise none is.
"""

import logging
from collections.abc import Callable
from itertools import islice
from queue import Empty
from time import monotonic, time
from typing import Any, Final
from uuid import uuid4

from kombu.utils.encoding import bytes_to_str
from redis.exceptions import NoScriptError, ResponseError

from task_server.transport.due import Due
from task_server.transport.failover import FailoverError
from task_server.transport.idle import REFUSED_WAIT, UNTRACKED_POLL, WATCH_LEASE, Idle
from task_server.transport.store import unreadable
from task_server.transport.store.keys import FetchKeys
from task_server.transport.store.owner import node_name, owner_json, owner_marker
from task_server.transport.store.scripts import FETCH, is_denied
from task_server.transport.unacked.delivery import Delivery
from task_server.transport.unacked.native import clock
from task_server.transport.unacked.prefetched import Message
from task_server.transport.unacked.unacked import Unacked
from task_server.transport.wire import Sent, Wire

logger: Final = logging.getLogger(__name__)

#: Seconds for which messages of an unanswered fetch are searched for.
ORPHAN_SECONDS: Final = 60.0


class Fetcher:
    """
    Fetches for one channel.

    Args:
        credit: Returns how many messages to fetch.

        can_consume: Whether a consumer has room for one more.

    Attributes:
        idle: How it waits.

        refusal: Why the server delivers no messages at all; None if it does.
    """

    def __init__(
        self,
        wire: Wire,
        unacked: Unacked,
        delivery: Delivery,
        credit: Callable[[], int],
        can_consume: Callable[[], bool],
    ) -> None:
        self.wire = wire
        self.idle = Idle(wire, unacked.store.problems)
        self.refusal: str | None = None
        self._unacked = unacked
        self._delivery = delivery
        self._credit = credit
        self._can_consume = can_consume
        self._reports = unacked.hooks.reports_started
        self._lease = unacked.timing.lease
        self._is_known = False
        self._tries = True
        self._fetched_at = self._sent_at = 0.0
        self._keys = FetchKeys()
        self._acks: list[str] = []
        self._name = str(uuid4())
        self._due = Due(unacked.store)

    @property
    def has_consumed(self) -> bool:
        """Whether it has ever fetched."""
        return bool(self._keys.queues)

    @property
    def is_full(self) -> bool:
        """Whether it fetches nothing for the bytes of what is here, until some is acknowledged."""
        return self._unacked.delivered.size.is_full

    # Send

    def start(self) -> None:
        """Send the next command, if one is due."""
        unacked = self._unacked
        if self.wire.sent is not Sent.NOTHING:
            # The connection was lost with its reply.
            self._lost()
            self.wire.sent, self.idle.fetch_due = Sent.NOTHING, True
        if unacked.prefetched or not self.idle.is_over:
            return
        # Before the fetch: a lost message that is fetched again would be here twice.
        if not (unacked.ownership.settle() and (queues := self.wire.next_queues())):
            return
        self._keys = unacked.store.keys.for_queues(queues)
        limit = self._credit()
        self._acks = unacked.acks.take()
        self._fetched_at, self._sent_at = time(), clock()
        arguments = [
            *(limit, len(queues), "1" if self.wire.rotates else "0", self._name, WATCH_LEASE),
            owner_json(self._fetched_at, reports=self._reports, lease=self._lease),
            "1" if self._tries else "0",
            *(
                *self._keys.optional,
                f"{unacked.timing.delay:g}",
                self._due.with_fetch(),
                node_name(),
                *self._acks,
            ),
        ]
        try:
            is_known = self._is_known and not FETCH.text_only
            command = FETCH.command(self._keys.required, arguments, known=is_known)
            self.wire.send(Sent.FETCH, *command)
        except BaseException:
            self._put_acks_back()
            raise

    # Read

    def read(self) -> bool:
        """
        Read the reply that is due, and deliver what it brought.

        Raises:
            Empty: Nothing was delivered.
        """
        sent, self.idle.fetch_due = self.wire.sent, True
        try:
            reply = self._reply()
        finally:
            self.wire.done()
        if sent is Sent.FETCH and reply:
            self._received(reply)
        elif sent is Sent.TRACK:
            self.idle.tracks(reply)
        if not self._delivery.deliver():
            raise Empty
        return True

    def _reply(self) -> Any:
        """Return the reply; None if the server rejected the script: logged, or retried."""
        sent = self.wire.sent
        try:
            reply = self.wire.receive()
        except NoScriptError:
            # The server was restarted, or its scripts were flushed.
            self._is_known = False
            self._put_acks_back()
            return None
        except FailoverError:
            # It has moved nothing: there is no reply to search for.
            self._put_acks_back()
            raise
        except ResponseError as error:
            self._put_acks_back()
            if sent is Sent.FETCH:
                self._refused(error)
            else:
                self.idle.refused(sent, error, self._keys)
            return None
        except BaseException:
            self._lost()
            self.wire.disconnect()
            raise
        if sent is Sent.FETCH:
            self._is_known = True
            self._tries = False
            self._unacked.acks.arrived(self._acks)
            self._acks = []
            self.refusal = None
        return reply

    def _refused(self, error: ResponseError) -> None:
        """Send the text of the script if its SHA-1 is unknown; else try again later."""
        if self._is_known and not FETCH.text_only and is_denied(error, "evalsha"):
            FETCH.text_only = True
            return
        self._tries = True
        self.idle.rest(REFUSED_WAIT)
        level = logging.DEBUG if self.refusal else logging.ERROR
        logger.log(level, "Redis rejects the fetch, which is retried every second: %s", error)
        self.refusal = f"Redis rejects the fetch: {error}"

    def _lost(self) -> None:
        """Search later for what was fetched: the reply will not come."""
        self._put_acks_back()
        self._tries = True
        if self.wire.sent is Sent.FETCH:
            fetches = self._unacked.pending.orphaned_fetches
            if self._fetched_at not in (at for at, _ in fetches):
                fetches.append((self._fetched_at, monotonic() + ORPHAN_SECONDS))

    def _put_acks_back(self) -> None:
        self._unacked.acks.put_back(self._acks)
        self._acks = []

    def _received(self, reply: Any) -> None:
        state, problems, fields, next_due, *closed = reply
        keys, unacked = self._keys, self._unacked
        self.idle.closes(keys, *closed)
        marker = owner_marker(self._fetched_at, reports=self._reports, lease=self._lease)
        columns = [islice(fields, first, None, 4) for first in range(4)]
        for number, tag, text, reason in zip(*columns, strict=True):
            queue = keys.queues[number % len(keys.queues)]
            self.wire.rotate(queue)
            if reason:
                # The tag is the field that keeps it; '' if it is in the list.
                unacked.pending.unreadable += bool(tag)
                unreadable.log_found(
                    unacked.store.keys, queue, bytes_to_str(tag), text, bytes_to_str(reason)
                )
            else:
                key = keys.lists[number]
                message = Message(queue, bytes_to_str(tag), text, key, marker)
                unacked.prefetched.append(message)
        unacked.ownership.check_fetched(self._sent_at)
        if problems:
            self.refusal = unacked.store.problems.of_fetch(problems, keys.lists)
            if state in (b"watch", b"wait") and self.refusal:
                # A queue that cannot be read may have messages at any time.
                self.idle.rest(REFUSED_WAIT)
                return
        self._wait(state, float(next_due or "inf"))

    def _wait(self, state: bytes, next_due: float) -> None:
        """Wait as the script says, if it found nothing; acknowledgements then go at once."""
        if state in (b"watch", b"wait", b"poll", b"closed"):
            self.idle.fetch_due = False
            self._due.reset()
            self._unacked.acks.flush()
        if state == b"watch":
            self.idle.watch(self._keys, next_due)
        elif state in (b"wait", b"closed"):
            self.idle.wait(self._keys)
        elif state == b"poll":
            self.idle.rest(UNTRACKED_POLL)

    def return_due(self) -> None:
        """Return delayed tasks that are due for others, if this worker does not fetch."""
        is_idle = self.wire.sent is not Sent.NOTHING or not self.idle.is_over
        if self.has_consumed and not is_idle:
            self._due.without_fetch(self._keys.lists)

    def on_notification(self) -> None:
        """Fetch, after a notification that a queue has changed."""
        self.idle.on_notification()
        if self.wire.sent is Sent.NOTHING:
            self.idle.fetch_due = True
            if self._can_consume():
                self.wire.fetch_now()
        raise Empty

    # Stop

    def finish(self) -> None:
        """
        End the pending command.

        The messages of a fetch are already registered: read and requeue them, so that
        other workers get them now and not after the visibility timeout.
        """
        was_awaited = self.wire.is_awaited
        try:
            if self.wire.sent is Sent.FETCH and was_awaited:
                reply = self._reply()
                if reply:
                    self._received([b"", *reply[1:]])
            elif self.wire.sent is not Sent.NOTHING:
                self.wire.drop()
        finally:
            if self.wire.sent is not Sent.NOTHING:
                # Otherwise it is Kombu's own BRPOP, which Kombu reads.
                if not was_awaited:
                    self._lost()
                self.wire.done()
        self.idle.fetch_due = True

    def close(self) -> None:
        """Close the connection for notifications, and let another worker watch."""
        self.idle.close()
        if self.has_consumed:
            token = self._keys.wakeup_token
            with self._unacked.store.client.pipeline() as pipe:
                pipe.zrem(self._keys.watchers, self._name).lpush(token, "1")
                # Another worker fetches within seconds anyway if this fails.
                pipe.ltrim(token, 0, 0).expire(token, 60).execute(raise_on_error=False)
