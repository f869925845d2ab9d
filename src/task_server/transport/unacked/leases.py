"""
The lease of a worker's messages: for how long they are its own after its last sign of life.

It stands in each entry. A thread of the operating system renews it, with a
connection of its own, so that it does so too while a task keeps the worker's
loop from turning. A process that was stopped, or cut off, for longer than its
lease may have lost what it has: it asks before it begins any of it.
"""

# ruff: noqa: SLF001 - Kombu's transports are made of private methods

import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from time import clock_gettime
from typing import TYPE_CHECKING, Any, Final

from redis import Redis

from task_server.transport.store.owner import RUN
from task_server.transport.store.scripts import HOLD, RENEW

if TYPE_CHECKING:
    from task_server.transport.channel import Channel

#: What this process writes into each of its entries that has a lease.
MINE: Final = f'"run": "{RUN}"'

#: Messages that one call renews.
BATCH: Final = 1000

#: The same where each entry is read.
BATCH_READ: Final = 50

#: A clock that goes on while the machine is suspended.
CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> float:
    """Return the seconds of a clock that nobody sets, and that no pause stops."""
    return clock_gettime(CLOCK)


class Lease:
    """
    The lease on all that the channels of one broker hold in this process.

    Attributes:
        seconds: How long it is; 0 is for ever, and nothing here does anything.

        sure_until: The `clock` until which all that is held is certainly held.

        lost: Delivery tags of messages that were held here and that others
            have now.

        told: Those of the lost of which the worker has heard, and that it runs.

        running: Delivery tags of tasks that have outlived their channel.

        error: Why the last renewal has not arrived; None if it has.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sure_until = inf
        self.renewed = clock()
        self.lost: set[str] = set()
        self.told: set[str] = set()
        self.running: frozenset[str] = frozenset()
        self.error: Exception | None = None
        self._channels: set[Channel] = set()
        self._keys: tuple[str, str] = ("", "")
        self._pool: Any = None
        self._used: Any = None
        self._interval = 0.0
        self._process = 0
        self._guard = _lock()

    def join(self, channel: "Channel") -> None:
        """Renew for *channel* as well, which is about to fetch, by a connection like its own."""
        if channel in self._channels or not channel.lease_length:
            return
        self.seconds, self._interval = channel.lease_length, channel.hold_interval
        self._keys = channel.unacked_keys()
        pool = channel._get_pool()
        # Two tries within the lease, whatever the server does.
        for name in ("socket_timeout", "socket_connect_timeout"):
            if name in pool.connection_kwargs or not _is_local(pool):
                pool.connection_kwargs[name] = max(1.0, self.seconds / 6)
        self._pool = pool
        if self._process not in (0, os.getpid()):
            # A child has not its parent's thread, nor what that holds.
            self._process, self._channels, self._used = 0, set(), None
            self._guard = _lock()
        with self._guard:
            if not self._process:
                self._process, self.renewed = os.getpid(), clock()
                _start_thread(self._run)
            self._channels.add(channel)
        self.renewed = self.renewed

    def channels(self) -> "tuple[Channel, ...]":
        """Return those that hold something here."""
        return copied(self._channels)

    def leave(self, channel: "Channel") -> None:
        """Renew nothing for *channel* any more, but what runs on without it."""
        self._channels.discard(channel)

    @property
    def renewed(self) -> float:
        """The `clock` of the last renewal that has arrived."""
        return self._renewed

    @renewed.setter
    def renewed(self, moment: float) -> None:
        self._renewed = moment
        # What follows from it takes a moment.
        self.sure_until = moment + self.seconds * 0.9 if self.seconds else inf

    @property
    def is_sure(self) -> bool:
        """Whether all that is held here, and not known as lost, is certainly still held."""
        return clock_gettime(CLOCK) < self.sure_until

    @property
    def is_settled(self) -> bool:
        """Whether that is sure and nothing is known as lost; asked for each task."""
        return clock_gettime(CLOCK) < self.sure_until and not self.lost

    def make_sure(self, client: Any) -> None:
        """
        Renew now, by *client*, if that is overdue; what others have is `lost` then.

        Raises:
            One of the connection's errors; then nothing may begin.
        """
        if not self.is_sure:
            self.renew(client)

    def hold(self, channel: "Channel", running: Iterable[str]) -> None:
        """
        Take note of what is *running*, and renew in the place of a thread that cannot.

        Raises:
            One of the connection's errors.
        """
        self.running = frozenset(running)
        if clock() - self.renewed > 1.5 * self._interval:
            self.renew(channel.bare_client())

    def renew(self, client: Any) -> None:
        """
        Renew the lease of all that is held here.

        Raises:
            One of the connection's errors.
        """
        began = clock()
        sure = self.is_sure
        tags = self.held()
        if sure:
            for first in range(0, len(tags), BATCH):
                HOLD.run(client, self._keys[1:], ["1", *tags[first : first + BATCH]])
        else:
            self.lost.update(self.lost_of(client, tags))
        self.renewed = began

    def lost_of(self, client: Any, tags: list[str]) -> list[str]:
        """Return which of *tags* others have, and renew the rest."""
        lost: list[str] = []
        for first in range(0, len(tags), BATCH_READ):
            found = RENEW.run(client, self._keys, [MINE, *tags[first : first + BATCH_READ]])
            lost.extend(tag.decode() for tag in found)
        return lost

    def held(self) -> list[str]:
        """Return the delivery tags of what is held here and not lost; any thread may ask."""
        tags = set(self.running)
        for channel in self.channels():
            qos = channel._qos
            if qos is not None:
                tags.update(copied(qos._delivered))
                tags.difference_update(copied(qos._dirty))
                tags.update(copied(qos.registered))
                # Of tasks that have ended; the loop may not turn for long.
                tags.update(qos.owed_acks)
            tags.update(message.tag for message in copied(channel.fetcher.held))
        return list(tags - self.lost)

    def forget(self, tag: str) -> None:
        """Take note that the task of a message that is lost has ended."""
        if self.lost:
            self.lost.discard(tag)
            self.told.discard(tag)

    # The thread

    def _run(self) -> None:
        wait = _waiter()
        while not self._is_over():
            wait(self._renew_or_retry())
        self._disconnect()

    def _is_over(self) -> bool:
        """Return whether nothing is left to renew; the next channel starts another thread."""
        with self._guard:
            if self._channels or self.running:
                return False
            self._process = 0
            return True

    def _renew_or_retry(self) -> float:
        """Renew; return the seconds until the next time."""
        # Each part of the loop may have done it meanwhile.
        due = self.renewed + self._interval - clock()
        if due > self._interval / 10:
            return due
        if self._pool is not self._used:
            self._disconnect()
            self._used = self._pool
        try:
            self.renew(Redis(connection_pool=self._used))
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try is soon
            self.error = error
            self._disconnect()
            return min(1.0, self._interval)
        self.error = None
        return self._interval

    def _disconnect(self) -> None:
        if self._used is not None:
            with suppress(Exception):
                self._used.disconnect()


def _is_local(pool: Any) -> bool:
    """Return whether the connections of *pool* are by a Unix socket."""
    return "path" in pool.connection_kwargs


def copied(collection: Iterable[Any]) -> tuple[Any, ...]:
    """Return what is in *collection*, which another thread may change meanwhile."""
    while True:
        try:
            return tuple(collection)
        except RuntimeError:
            continue


def _start_thread(run: Callable[[], None]) -> None:
    """Let a thread of the operating system *run*, under gevent too; it ends with the process."""
    _original("_thread", "start_new_thread")(run, ())


def _lock() -> Any:
    """Return a lock of the operating system's, that is held for some instructions at most."""
    return _original("_thread", "allocate_lock")()


def _waiter() -> Callable[[float], None]:
    """Return a function that waits for some seconds, of the operating system's, not gevent's."""
    sleep: Callable[[float], None] = _original("time", "sleep")
    return sleep


def _original(module: str, name: str) -> Any:
    """Return *name* of *module* as it was before gevent patched it."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(__import__(module), name)
