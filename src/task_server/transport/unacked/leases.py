"""
The lease of a worker's messages: how long it owns them after its last renewal.

Each entry has it. An OS thread renews it over its own connection, so that it also
does while a task blocks the worker's loop. A process that was stopped or
disconnected for longer than its lease may have lost its messages: it asks Redis
before it starts any of them.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from time import clock_gettime
from typing import Any, Final, Protocol

from redis import Redis

from task_server.transport.store.keys import Keys
from task_server.transport.store.owner import RUN_ID, run_field
from task_server.transport.store.scripts import RENEW, RENEW_OWN
from task_server.transport.timing import Timing
from task_server.transport.unacked.native import (
    CLOCK,
    clock,
    copied,
    native_sleep,
    new_lock,
    start_thread,
)

#: What this process writes into each of its entries that has a lease.
OWN_RUN: Final = run_field(RUN_ID)

#: Messages that one call renews.
BATCH: Final = 1000

#: The same where each entry is read; fewer if they are large.
BATCH_READ: Final = 50


class Member(Protocol):
    """The messages of one channel, which the lease covers."""

    def tags(self) -> set[str]:
        """Return the delivery tags; any thread may ask."""

    def forget_lost(self, tags: set[str]) -> set[str]:
        """Forget those of *tags* that are lost and have not started; return the others."""


class Lease:
    """
    The lease on the messages of all channels of one broker in this process.

    Attributes:
        seconds: How long it is; 0 means no lease, and nothing here has an effect.

        sure_until: The `clock` until which this process certainly owns all of them.

        lost: Delivery tags of messages that other workers own now.

        reported: The lost ones that the worker knows of and still runs.

        running: Delivery tags of tasks that outlived their channel.

        error: Why the last renewal has not arrived; None if it has.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sure_until = inf
        self.renewed = clock()
        self.lost: set[str] = set()
        self.reported: set[str] = set()
        self.running: frozenset[str] = frozenset()
        self.error: Exception | None = None
        self._members: set[Member] = set()
        self._keys = Keys()
        self._pool: Any = None
        self._used: Any = None
        self._interval = 0.0
        self._process = 0
        self._guard = new_lock()

    def join(self, member: Member, keys: Keys, timing: Timing, new_pool: Callable[[], Any]) -> None:
        """Renew for *member* as well, which is about to fetch, by a connection like its own."""
        if member in self._members or not timing.lease:
            return
        self.seconds, self._interval = timing.lease, timing.renew_interval
        self._keys = keys
        pool = new_pool()
        # Two attempts within the lease, even if the server hangs.
        for name in ("socket_timeout", "socket_connect_timeout"):
            if name in pool.connection_kwargs or not _is_local(pool):
                pool.connection_kwargs[name] = max(1.0, self.seconds / 6)
        self._pool = pool
        if self._process not in (0, os.getpid()):
            # After a fork there is no thread, and its locks may be locked.
            self._process, self._members, self._used = 0, set(), None
            self._guard = new_lock()
        with self._guard:
            if not self._process:
                self._process, self.renewed = os.getpid(), clock()
                start_thread(self._run)
            self._members.add(member)
        self.renewed = self.renewed

    def members(self) -> tuple[Member, ...]:
        """Return the channels that have messages."""
        return copied(self._members)

    def leave(self, member: Member) -> None:
        """Renew for *member* no longer, except for tasks that outlive it."""
        self._members.discard(member)

    @property
    def renewed(self) -> float:
        """The `clock` of the last confirmed renewal."""
        return self._renewed

    @renewed.setter
    def renewed(self, moment: float) -> None:
        self._renewed = moment
        # Acting on the answer takes a moment.
        self.sure_until = moment + self.seconds * 0.9 if self.seconds else inf

    @property
    def is_sure(self) -> bool:
        """Whether this process certainly owns all messages that are not known as lost."""
        return clock_gettime(CLOCK) < self.sure_until

    @property
    def is_settled(self) -> bool:
        """Whether that is sure and nothing is lost; checked for each task, so it is cheap."""
        return clock_gettime(CLOCK) < self.sure_until and not self.lost

    def make_sure(self, client: Any) -> None:
        """
        Renew now, by *client*, if overdue; messages that others own are then `lost`.

        Raises:
            One of the connection's errors; then nothing may start.
        """
        if not self.is_sure:
            self.renew(client)

    def renew_if_overdue(self, client: Any, running: Iterable[str]) -> None:
        """
        Renew for *running* tasks too, and if the thread could not.

        Raises:
            One of the connection's errors.
        """
        self.running = frozenset(running)
        if clock() - self.renewed > 1.5 * self._interval:
            self.renew(client)

    def renew(self, client: Any) -> None:
        """
        Renew the lease of all messages of this process.

        Raises:
            One of the connection's errors.
        """
        started = clock()
        sure = self.is_sure
        tags = self.tags()
        if sure:
            for first in range(0, len(tags), BATCH):
                RENEW.run(client, [self._keys.times], ["1", *tags[first : first + BATCH]])
        else:
            self.lost.update(self.lost_of(client, tags))
        self.renewed = started

    def lost_of(self, client: Any, tags: list[str]) -> list[str]:
        """Return which of *tags* others own, and renew the rest."""
        keys = self._keys.unacked_and_times
        lost: list[str] = []
        done = 0
        while done < len(tags):
            some = tags[done : done + BATCH_READ]
            count, *found = RENEW_OWN.run(client, keys, [OWN_RUN, *some])
            lost.extend(tag.decode() for tag in found)
            done += int(count)
        return lost

    def tags(self) -> list[str]:
        """Return the delivery tags of owned messages; any thread may ask."""
        tags = set(self.running)
        for member in self.members():
            tags |= member.tags()
        return list(tags - self.lost)

    def forget(self, tag: str) -> None:
        """Forget a lost message whose task has ended."""
        if self.lost:
            self.lost.discard(tag)
            self.reported.discard(tag)

    # The thread

    def _run(self) -> None:
        wait = native_sleep()
        while not self._is_over():
            wait(self._renew_or_retry())
        self._disconnect()

    def _is_over(self) -> bool:
        """Return whether nothing is left to renew; the next member starts another thread."""
        with self._guard:
            if self._members or self.running:
                return False
            self._process = 0
            return True

    def _renew_or_retry(self) -> float:
        """Renew; return the seconds until the next time."""
        # The loop may have renewed meanwhile.
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
    """Return whether *pool* connects by a Unix socket."""
    return "path" in pool.connection_kwargs
