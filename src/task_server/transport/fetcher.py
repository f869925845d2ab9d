"""
One channel's way to its messages: ask, wait, hand on.

    asking --reply with messages--> holding --all handed on--> asking
    asking --reply without: 'watch'--> arming --nothing there--> watching
    asking --reply without: 'wait'---> waiting (for the baton)
    watching --told of a change, or the time is over--> asking
    waiting  --got the baton, or the time is over-----> asking

Asking, arming and waiting have a command on the way on the connection that
Kombu uses for BRPOP; the others have none.
"""

# ruff: noqa: SLF001 - Kombu's transports are made of private methods

import logging
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import islice
from queue import Empty
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from kombu.utils.encoding import bytes_to_str
from redis.exceptions import NoScriptError, ResponseError

from task_server.transport.failover import DemotedError
from task_server.transport.notifications import REMEMBER, Wake, refused
from task_server.transport.store.keys import Plan, Plans
from task_server.transport.store.owner import described, written
from task_server.transport.store.scripts import FETCH, is_denied
from task_server.transport.store.unreadable import told
from task_server.transport.unacked.leases import clock
from task_server.transport.unacked.prefetched import Held, Message

if TYPE_CHECKING:
    from task_server.transport.channel import Channel

logger: Final = logging.getLogger(__name__)

#: Seconds after which an idle worker asks without being told. It bounds the
#: delay of a message if the watching worker dies or hangs. Asking costs more
#: than Kombu's BRPOP of one second, so that it is asked the less often.
WAIT: Final = 4.0

#: The same where the server tells nothing of changed keys.
WAIT_UNTOLD: Final = 0.1

#: Seconds after which a silent watcher is one no longer.
LEASE: Final = 10

#: Seconds before the next try after the server refused the script.
REFUSED_WAIT: Final = 1.0

#: Seconds for which a worker asks by itself that cannot wait for another to wake it.
POLL_SECONDS: Final = 60.0

#: Seconds for which to look for what an unanswered fetch has moved.
UNREAD_SECONDS: Final = 60.0

#: Acknowledgements that one call carries at most; Lua's stack holds some 8000.
ACKS_A_CALL: Final = 1000


class Sent(Enum):
    """The command whose reply is awaited."""

    NOTHING = "nothing"
    FETCH = "fetch"
    ARM = "arm"
    BATON = "baton"


class Fetcher:
    """
    Fetches for one channel.

    Attributes:
        held: What it has brought and not handed on yet.

        refusal: Why the server hands out no messages at all; None if it does.

        busy: Whether the next step will be to ask again at once, so that an
            acknowledgement can travel with it.
    """

    def __init__(self, channel: "Channel") -> None:
        self.channel = channel
        self.held = Held(channel)
        self.busy = True
        self.refusal: str | None = None
        self.sent = Sent.NOTHING
        self.wake: Wake | None = None
        self._told = True
        self._changed = False
        self._known = False
        self._tries = True
        self._poll_until = 0.0
        self._rest_until = 0.0
        self._limit = 0
        self._at = self._asked = 0.0
        self._plan = Plan()
        self._plans = Plans(channel)
        self._acks: list[str] = []
        self._name = str(uuid4())

    @property
    def used(self) -> bool:
        """Whether it has ever asked."""
        return bool(self._plan.queues)

    # Ask

    def start(self) -> None:
        """Send the next command, if there is one to send."""
        if self.sent is not Sent.NOTHING:
            # The connection was lost with its reply.
            self._lost()
            self.sent, self.busy = Sent.NOTHING, True
        if self.held or (not self.busy and monotonic() < self._rest_until):
            return
        channel = self.channel
        # Before: what was lost and is fetched again would be here twice.
        if not channel.settle():
            return
        queues = channel._queue_cycle.consume(len(channel.active_queues))
        if not queues:
            return
        self._plan = self._plans.of(tuple(queues))
        self._limit = channel.free_credit()
        self._acks = channel.qos.take_acks(ACKS_A_CALL)
        self._at, self._asked = time(), clock()
        arguments = [
            *(self._limit, len(queues)),
            *("1" if channel.cycle_rotates else "0", self._name, LEASE),
            *(self._holder(described), "1" if self._tries else "0"),
            *(*self._plan.others, *self._acks),
        ]
        try:
            known = self._known and not FETCH.text_only
            self._send(Sent.FETCH, *FETCH.command(self._plan.keys, arguments, known=known))
        except BaseException:
            self._keep_acks()
            raise

    def _holder(self, how: Callable[..., str]) -> str:
        channel = self.channel
        return how(self._at, tells=channel.qos.tells, lease=channel.lease_length)

    def _send(self, what: Sent, *command: Any, after: Sequence[Any] = ()) -> None:
        connection = self.channel.client.connection
        if after:
            # In one, so that both replies are there at once.
            connection.send_packed_command(connection.pack_commands([after, command]))
        else:
            connection.send_command(*command)
        self.channel._in_poll = connection
        self.channel._brpop_sent_at = monotonic()
        self.sent = what

    # Read

    def read(self) -> bool:
        """
        Read the reply that is due, and hand on what it brought.

        Raises:
            Empty: Nothing was handed on.
        """
        sent, self.busy = self.sent, True
        try:
            reply = self._reply()
        finally:
            self.channel._in_poll = None
            self.sent = Sent.NOTHING
        if sent is Sent.FETCH and reply:
            self._fetched(reply)
        elif sent is Sent.ARM and reply == 0 and not self._changed:
            self._rest(WAIT)
        if not self.held.hand_on():
            raise Empty
        return True

    def _reply(self) -> Any:
        """Return the reply; None if the server refused, which is then said or retried."""
        client, sent = self.channel.client, self.sent
        try:
            if sent is Sent.ARM:
                # The reply to the command that goes before.
                client.connection.read_response()
            reply = client.parse_response(client.connection, sent.name)
        except NoScriptError:
            # A server that was restarted, or whose scripts were flushed.
            self._known = False
            self._keep_acks()
            return None
        except DemotedError:
            # It has moved nothing: there is no reply to look for.
            self._keep_acks()
            raise
        except ResponseError as error:
            self._keep_acks()
            self._refuse(error)
            return None
        except BaseException:
            self._lost()
            client.connection.disconnect()
            raise
        if sent is Sent.FETCH:
            self._known = True
            self._tries = False
            self.channel.qos.acks_arrived(self._acks)
            self._acks = []
            self.refusal = None
        return reply

    def _refuse(self, error: ResponseError) -> None:
        """Take note that the server refused what was sent, and do without if that can be done."""
        sent, client = self.sent, self.channel.client
        if sent is Sent.ARM:
            # Two replies were due.
            client.connection.disconnect()
            self._told = False
            refused(error)
        elif sent is Sent.BATON:
            # Whoever took messages cannot wake this worker.
            self._poll_until = monotonic() + POLL_SECONDS
            self.channel.problems.optional(self._plan.baton, str(error))
            self._rest(WAIT_UNTOLD)
        elif self._known and not FETCH.text_only and is_denied(error, "evalsha"):
            FETCH.text_only = True
        else:
            self._tries = True
            self._rest(REFUSED_WAIT)
            level = logging.DEBUG if self.refusal else logging.ERROR
            logger.log(level, "Redis refuses to hand out messages, tried each second: %s", error)
            self.refusal = f"Redis refuses to hand out messages: {error}"

    def _lost(self) -> None:
        """Take note that the reply will not come."""
        self._keep_acks()
        self._tries = True
        if self.sent is Sent.FETCH:
            unread = (self._at, monotonic() + UNREAD_SECONDS)
            if unread[0] not in (at for at, _ in self.channel.late.fetches):
                self.channel.late.fetches.append(unread)

    def _keep_acks(self) -> None:
        self.channel.qos.keep_acks(self._acks)
        self._acks = []

    def _fetched(self, reply: Any) -> None:
        state, problems, fields = reply
        plan = self._plan
        holder = self._holder(written)
        columns = [islice(fields, first, None, 4) for first in range(4)]
        for number, tag, text, reason in zip(*columns, strict=True):
            queue = plan.queues[number % len(plan.queues)]
            self.channel._queue_cycle.rotate(queue)
            if reason:
                self._put_aside(queue, bytes_to_str(tag), text, bytes_to_str(reason))
            else:
                key = plan.lists[number]
                self.held.append(Message(queue, bytes_to_str(tag), text, key, holder))
        self.held.check_lease(self._asked)
        if problems:
            self.refusal = self.channel.problems.of_fetch(problems, plan.lists)
            if state in (b"watch", b"wait") and self.refusal:
                # A queue that cannot be read may have messages for ever.
                self._rest(REFUSED_WAIT)
                return
        if state == b"watch":
            self._watch()
        elif state == b"wait":
            self._wait_for_baton()
        elif state == b"poll":
            self.channel.qos.flush_acks()
            self._rest(WAIT_UNTOLD)

    def _put_aside(self, queue: str, field: str, text: bytes, reason: str) -> None:
        """Tell of a message that the script could not read."""
        if field:
            self.channel.late.unreadable += 1
        where = (
            f"the hash {self.channel.unacked_keys()[0]}, field {field}, since the list "
            f"{self.channel.unreadable_key} cannot be used"
            if field
            else f"the list {self.channel.unreadable_key}"
        )
        logger.error(
            "a message of the queue %s cannot be read and is kept in %s: %s: %s",
            *(told(queue), where, told(reason), told(text)),
        )

    # Idle

    def _rest(self, seconds: float) -> None:
        self.busy = False
        self._rest_until = monotonic() + seconds

    def _watch(self) -> None:
        """Wait to be told of a change; from now on acknowledgements go at once."""
        self.busy = False
        self.channel.qos.flush_acks()
        if not self._told or not self._prepared():
            self._wait_for_baton()
            return
        # It counts the keys that exist and asks to be told of all. If there is
        # a message already the answer says so, so that none falls between.
        self._changed = False
        self._send(Sent.ARM, "EXISTS", *self._plan.lists, after=REMEMBER)

    def _prepared(self) -> bool:
        """Return whether the server will tell of changes."""
        try:
            try:
                self._prepare()
            except ResponseError:
                if self.wake is None:
                    raise
                # Only one of the two connections may have come to a server that
                # took over, or the server has closed the other one just now.
                self.wake.close()
                self.wake = None
                self._prepare()
        except ResponseError as error:
            self._told = False
            refused(error)
        return self._told

    def _prepare(self) -> None:
        channel = self.channel
        cycle = channel.connection.cycle
        if self.wake is None:
            self.wake = Wake(channel._create_client(asynchronous=True))
        if not cycle._client_registered(channel, self.wake.client, "WAKE"):
            cycle._register(channel, self.wake.client, "WAKE")
        self.wake.prepare(channel.client.connection)

    def _wait_for_baton(self) -> None:
        self.busy = False
        self.channel.qos.flush_acks()
        if monotonic() < self._poll_until:
            self._rest(WAIT_UNTOLD)
            return
        wait = WAIT if self._told else WAIT_UNTOLD
        self._send(Sent.BATON, "BRPOP", self._plan.baton, wait)

    def woken(self) -> None:
        """Read from the wake connection: a queue has changed."""
        if self.wake is not None and not self.wake.drain():
            connection = self.wake.client.connection
            if connection is not None:
                connection.disconnect()
        # The news may overtake the reply of the command that asked for it.
        self._changed = True
        if self.sent is Sent.NOTHING:
            self.busy = True
            if self.channel.qos.can_consume():
                # Now and not before the next poll: the server works meanwhile.
                self.channel.connection.cycle._register_BRPOP(self.channel)
        raise Empty

    # Stop

    def collect(self) -> None:
        """
        End what is on the way.

        Of a fetch the messages are registered already: read them, so that
        they can be given back, and another worker has them now and not after
        the visibility time-out.
        """
        connection = self.channel._in_poll
        try:
            if self.sent is Sent.FETCH and connection:
                reply = self._reply()
                if reply:
                    self._fetched([b"", *reply[1:]])
            elif self.sent is not Sent.NOTHING and connection:
                # Its reply would be taken for that of the next command.
                connection.disconnect()
        finally:
            if self.sent is not Sent.NOTHING:
                # Else it is Kombu's own BRPOP, which Kombu reads.
                self.channel._in_poll = None
                if not connection:
                    self._lost()
                self.sent = Sent.NOTHING
        self.busy = True

    def close(self) -> None:
        """Let go of the wake connection, and let another worker watch."""
        if self.wake is not None:
            self.wake.close()
            self.wake = None
        if self.used:
            baton = self._plan.baton
            with self.channel.bare_client().pipeline() as pipe:
                pipe.zrem(self._plan.watchers, self._name).lpush(baton, "1")
                # Another worker looks by itself within seconds if this fails.
                pipe.ltrim(baton, 0, 0).expire(baton, 60).execute(raise_on_error=False)
