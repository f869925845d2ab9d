"""
How one channel waits while its queues are empty.

One idle worker of a queue watches it: the server notifies it of a change. The
others wait for a wakeup token, which a worker that got messages gives to one of
them.
"""

import logging
from collections.abc import Sequence
from math import inf
from time import monotonic
from typing import Final

from redis.exceptions import ResponseError

from task_server.transport.notifications import (
    CACHING_YES,
    InvalidationListener,
    warn_untracked,
)
from task_server.transport.store.keys import FetchKeys
from task_server.transport.store.problems import Problems
from task_server.transport.wire import Sent, Wire

logger: Final = logging.getLogger(__name__)

#: Seconds after which an idle worker fetches without a notification. It bounds the
#: delay of a message if the watching worker dies or hangs. A fetch costs more than
#: Kombu's BRPOP of one second, so it is made less often.
IDLE_POLL: Final = 4.0

#: The same where the server does not announce changed keys.
UNTRACKED_POLL: Final = 0.1

#: Seconds after its last fetch until a watcher no longer counts.
WATCH_LEASE: Final = 10

#: Seconds between two fetches of a worker whose queues are all paused, where the server
#: does not announce changed keys.
CLOSED_POLL: Final = 1.0

#: Seconds until the next attempt after the server rejected the script.
REFUSED_WAIT: Final = 1.0

#: Seconds for which a worker polls that cannot wait for another to wake it.
POLL_SECONDS: Final = 60.0


class Idle:
    """
    The waiting of one channel.

    Attributes:
        fetch_due: Whether the next step will be a fetch, at once, so that an
            acknowledgement can travel with it.

        listener: The connection for notifications, once there was one.

        closed: The queues that gave the last fetch nothing since they are paused; all of them
            if this node is drained.
    """

    def __init__(self, wire: Wire, problems: Problems) -> None:
        self.fetch_due = True
        self.listener: InvalidationListener | None = None
        self.closed: frozenset[str] = frozenset()
        self._numbers: frozenset[int] = frozenset()
        self._stops = 0
        self._wire = wire
        self._problems = problems
        self._is_tracked = True
        self._has_changed = False
        self._poll_until = 0.0
        self._until = 0.0
        self._next_due = inf

    @property
    def is_over(self) -> bool:
        """Whether it is time to fetch."""
        return self.fetch_due or monotonic() >= self._until

    def closes(self, keys: FetchKeys, closed: Sequence[int] = ()) -> None:
        """Take *closed* from the reply of the script: how many stops exist, and which queues."""
        if closed or self.closed:
            self._stops, self._numbers = sum(closed[:1]), frozenset(closed[1:])
            self.closed = frozenset(keys.queues[number] for number in self._numbers)

    def rest(self, seconds: float) -> None:
        """Fetch nothing for so many *seconds*, but after a notification."""
        self.fetch_due = False
        self._next_due, self._until = inf, monotonic() + seconds

    @property
    def wakes_at(self) -> float | None:
        """When a delayed task is due, by the monotonic clock; None if the poll comes before."""
        if self.fetch_due or self._next_due == inf or self._until < monotonic():
            return None
        return self._until

    def watch(self, keys: FetchKeys, next_due: float = inf) -> None:
        """
        Wait for a notification that a queue has changed.

        Args:
            next_due: Seconds until a delayed task is due; no notification says so.
        """
        self.fetch_due = False
        self._next_due = next_due if next_due < IDLE_POLL else inf
        is_closed = self._is_closed(keys)
        if not self._is_tracked or not self._is_subscribed():
            if is_closed:
                self.rest(CLOSED_POLL)
            else:
                self._await_token(keys)
            return
        # It counts the keys that exist and asks for notifications of all. If there
        # is a message already the reply says so, so that none falls between.
        self._has_changed = False
        lists = (*keys.open_lists(self._numbers), *keys.stops) if self._numbers else keys.lists
        self._wire.send(Sent.TRACK, "EXISTS", *lists, before=CACHING_YES)

    def wait(self, keys: FetchKeys) -> None:
        """Wait for the wakeup token, while another worker watches; or for the end of a stop."""
        if self._is_closed(keys):
            # What it took from the others would wait until the token is lost.
            self.watch(keys)
        else:
            self._await_token(keys)

    def _is_closed(self, keys: FetchKeys) -> bool:
        """Return whether no queue gives anything."""
        return 0 < len(self._numbers) == len(keys.queues)

    def _await_token(self, keys: FetchKeys) -> None:
        self.fetch_due, self._next_due = False, inf
        if monotonic() < self._poll_until:
            self.rest(UNTRACKED_POLL)
            return
        seconds = IDLE_POLL if self._is_tracked else UNTRACKED_POLL
        self._wire.send(Sent.TOKEN, "BRPOP", keys.wakeup_token, seconds)

    def tracks(self, existing: int | None) -> None:
        """Rest until a notification comes, if none of the tracked lists exists yet."""
        if existing != self._stops:
            if self._numbers:
                # Another stop came, or went: maybe of what this worker has nothing to do with.
                self.rest(UNTRACKED_POLL)
        elif not self._has_changed:
            self.fetch_due = False
            self._until = monotonic() + min(IDLE_POLL, self._next_due)

    def refused(self, sent: Sent, error: ResponseError, keys: FetchKeys) -> None:
        """Do without notifications, or without the token: the server refused them."""
        if sent is Sent.TRACK:
            # Two replies were due.
            self._wire.disconnect()
            self._is_tracked = False
            warn_untracked(error)
        else:
            # A worker that gets messages cannot wake this one.
            self._poll_until = monotonic() + POLL_SECONDS
            self._problems.optional(keys.wakeup_token, str(error))
            self.rest(UNTRACKED_POLL)

    def on_notification(self) -> None:
        """Discard a notification, and connect again if it was the end of the connection."""
        if self.listener is not None and not self.listener.discard():
            connection = self.listener.client.connection
            if connection is not None:
                connection.disconnect()
        # It may overtake the reply of the command that asked for it.
        self._has_changed = True

    def close(self) -> None:
        """Close the connection for notifications."""
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    def _is_subscribed(self) -> bool:
        """Return whether the server will announce changes."""
        try:
            try:
                self._subscribe()
            except ResponseError:
                if self.listener is None:
                    raise
                # Only one of the two connections may have come to a server that
                # took over, or the server has closed the other one just now.
                self.close()
                self._subscribe()
        except ResponseError as error:
            self._is_tracked = False
            warn_untracked(error)
        return self._is_tracked

    def _subscribe(self) -> None:
        if self.listener is None:
            self.listener = self._wire.new_listener()
        self._wire.subscribe(self.listener)
