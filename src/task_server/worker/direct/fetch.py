"""
The connection of a child that fetches for itself, opened after the fork.

It fetches one message at a time, by the transport's script; the acknowledgement of the last one
travels with it. Whatever goes wrong is told to the main process, which asks Redis by its own
connection, and says what is wrong.
"""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import time
from typing import Any, Final

from kombu.utils.encoding import bytes_to_str
from redis.exceptions import NoScriptError, RedisError, ResponseError

from task_server.transport.due import INTERVAL as DUE_INTERVAL
from task_server.transport.store.keys import FetchKeys, Keys
from task_server.transport.store.owner import MARKER, owner_json
from task_server.transport.store.scripts import FETCH, is_denied
from task_server.transport.unacked.native import clock
from task_server.worker.direct.notice import Terms
from task_server.worker.direct.slot import Fetched, Slot

logger: Final = logging.getLogger(__name__)


@dataclass
class Lost:
    """
    What the main process is to settle.

    Attributes:
        acks: Delivery tags of messages whose tasks have succeeded; maybe they are acknowledged.

        marker: What a fetch whose reply is lost has written into entries; '' for none.

        unreadable: Of messages that could not be read: queue, tag, text, reason.
    """

    acks: list[str] = field(default_factory=list)
    marker: str = ""
    unreadable: list[tuple[str, str, bytes, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.acks or self.marker or self.unreadable)


class Fetch:
    """
    Fetches for one child.

    Args:
        app: Celery's.

        tell: Gives the main process what it is to settle.
    """

    def __init__(self, app: Any, slot: Slot, tell: Callable[[Lost], None]) -> None:
        self._app = app
        self._slot = slot
        self._tell = tell
        self._connection: Any = None
        self._keys = Keys()
        self._cycle: Any = None
        self._rotates = True
        self._lease = 0.0
        self._delay = "0"
        self._is_known = False
        self._tries = True
        self._due_at = 0.0
        self._queues: tuple[str, ...] = ()
        self._name = f"child {os.getpid()}"
        self.acks: list[str] = []

    def use(self, terms: Terms) -> None:
        """Fetch from the queues of *terms*."""
        if self._queues != terms.queues and self._cycle is not None:
            self._queues = terms.queues
            self._cycle.update(terms.queues)

    def is_ready(self) -> bool:
        """Return whether there is a connection, which is opened if there is none."""
        try:
            if self._connection is None:
                self._open()
            elif _has_ended(self._connection):
                self._connection.disconnect()
                self._is_known = False
        except Exception as error:  # noqa: BLE001 - whatever it is: the main process fetches then
            logger.debug("this child cannot fetch for itself: %s", error)
            return False
        return True

    def _open(self) -> None:
        with self._app.connection_for_read() as connection:
            channel = connection.transport.create_channel(connection.transport)
            try:
                self._keys = Keys.of(channel)
                timing = channel.unacked.timing
                self._lease, self._delay = timing.lease, f"{timing.delay:g}"
                self._cycle = channel._queue_cycle  # noqa: SLF001 - Kombu has no other way
                self._rotates = channel.fetcher.wire.rotates
                self._connection = channel._get_pool().get_connection()  # noqa: SLF001 - as above
            finally:
                channel.close()
        self._queues = ()

    def next(self, terms: Terms) -> Fetched | None:
        """
        Acknowledge what waits for it, and return the next message; None if there is none for now.

        A message that cannot be read is told to the main process.
        """
        self.use(terms)
        queues = tuple(self._cycle.consume(len(self._queues)))
        keys = self._keys.for_queues(queues)
        fetched_at = time()
        owner = owner_json(
            fetched_at, reports=True, lease=self._lease, pid=terms.pid, child=os.getpid()
        )
        self._slot.fetches(fetched_at)
        sent_at = clock()
        reply = self._asked(keys, self._arguments(keys, owner, terms), owner)
        if reply is None:
            return None
        found, marker = None, f"{MARKER.decode()}{owner}"
        # This process, or the machine, may have been stopped meanwhile.
        is_sure = not self._lease or clock() - sent_at <= self._lease / 2
        _, _, fields, *_ = reply
        for at in range(0, len(fields), 4):
            number, tag, text, reason = fields[at : at + 4]
            queue = keys.queues[number % len(keys.queues)]
            self._cycle.rotate(queue)
            if reason:
                one = (queue, bytes_to_str(tag), text, bytes_to_str(reason))
                self._tell(Lost(unreadable=[one]))
            elif not is_sure:
                # Others may have it by now: it is requeued if none has.
                self._tell(Lost(marker=marker))
            else:
                found = Fetched(queue, bytes_to_str(tag), keys.lists[number], marker, text)
        return found

    def _arguments(self, keys: FetchKeys, owner: str, terms: Terms) -> list[Any]:
        now = clock()
        returns_due = now - self._due_at >= DUE_INTERVAL
        if returns_due:
            self._due_at = now
        return [
            *(1, len(keys.queues), "1" if self._rotates else "0", self._name, 0, owner),
            *("1" if self._tries else "0", *keys.optional, self._delay),
            *("1" if returns_due else "0", terms.node, *self.acks),
        ]

    def _asked(self, keys: FetchKeys, arguments: list[Any], owner: str) -> Any:
        """Return the reply of the script; None if there is none."""
        connection = self._connection
        try:
            is_known = self._is_known and not FETCH.text_only
            connection.send_command(*FETCH.command(keys.required, arguments, known=is_known))
            reply = connection.read_response()
        except NoScriptError:
            self._is_known = False
            return self._asked(keys, arguments, owner)
        except ResponseError as error:
            # The main process meets the same error, and logs it.
            if self._is_known and is_denied(error, "evalsha"):
                FETCH.text_only = True
            self._tries = True
            self._give_up()
            return None
        except (RedisError, OSError):
            self._give_up(f"{MARKER.decode()}{owner}")
            return None
        self._is_known, self._tries = True, False
        self.acks = []
        return reply

    def flush(self) -> None:
        """Send the acknowledgements that wait."""
        if not self.acks:
            return
        connection, (unacked, times) = self._connection, self._keys.unacked_and_times
        removals = [("ZREM", times, *self.acks), ("HDEL", unacked, *self.acks)]
        try:
            connection.send_packed_command(connection.pack_commands(removals))
            for _ in removals:
                connection.read_response()
        except (RedisError, OSError):
            self._give_up()
        self.acks = []

    def _give_up(self, marker: str = "") -> None:
        """Leave to the main process what is not settled, and connect again the next time."""
        self._tell(Lost(acks=self.acks, marker=marker))
        self.acks = []
        connection, self._connection = self._connection, None
        self._tries, self._is_known = True, False
        with suppress(RedisError, OSError):
            connection.disconnect()


def _has_ended(connection: Any) -> bool:
    """Return whether the server has closed *connection*, or says what nobody asked."""
    try:
        return bool(connection.can_read(timeout=0))
    except (RedisError, OSError):
        return True
