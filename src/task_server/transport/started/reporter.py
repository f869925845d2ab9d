"""
Reports to Redis which messages' tasks have started, in case this process dies.

A set of delivery tags for each process of a worker, beside the unacked messages.

A message that has not crashed any worker is reported when its lease is renewed, if
its task still runs then. That costs nothing, and is too late for a task that
kills its worker at once. The messages of a dead worker come back *marked*: its payload
has `deaths`, even if it is an empty list. While a marked message runs, its worker
reports every start before the task runs, and every end, of messages that are not
marked too; the member `*` says so. The tag whose task has the processor has `>`
before it, where the pool knows that. What crashed the worker: see `crashes`.

A task waits until its start is sent, and for the connection if that is just being
made. Without Redis tasks run all the same; the next report or renewal then replaces
everything.
"""

import logging
from collections.abc import Callable, Collection
from typing import Any, Final

from task_server.transport.started.connection import ReplyOffConnection
from task_server.transport.started.crashes import ON_CPU
from task_server.transport.started.reported import Command, ReportedTasks
from task_server.transport.store import owner
from task_server.transport.store.client import Store

logger: Final = logging.getLogger(__name__)

#: Seconds beyond the visibility timeout for which a dead worker's set is kept.
KEPT_SECONDS: Final = 86400


class StartReporter:
    """
    Reports the tasks whose messages came by one channel.

    Args:
        store: The channel's Redis.

        reported: What this process has reported; a later connection continues it.

        visibility_timeout: In seconds.

        running: Returns the delivery tags of all tasks that run.

        connections: Returns the pool whose connections this one is like; None
            while the channel is not connected.
    """

    def __init__(
        self,
        store: Store,
        reported: ReportedTasks,
        visibility_timeout: float,
        running: Callable[[], Collection[str]],
        connections: Callable[[], Any],
    ) -> None:
        self.reported = reported
        self._store = store
        self._expiry = int(visibility_timeout) + KEPT_SECONDS
        self._running = running
        self._connections = connections
        self._connection: ReplyOffConnection | None = None

    def start(self, tag: str, *, marked: bool = True, on_cpu: bool = False) -> None:
        """
        Report that the task of *tag* is about to start; without a server it starts anyway.

        Args:
            marked: Whether its message is marked; if not it is reported only
                because a marked one runs.

            on_cpu: Whether it has the processor; the caller then reports the changes.
        """
        reported = self.reported
        reported.expect(tag, marked=marked)

        def commands(key: str) -> list[Command]:
            found = reported.start(key, tag, lambda: set(self._running()))
            if on_cpu and self._connection is not None and self._connection.is_instant:
                found.append(("SADD", key, ON_CPU + tag))
            return [*found, self._expire(key)] if found[0][0] == "DEL" else found

        self._report(commands)
        reported.add(tag)

    def end(self, tag: str) -> None:
        """Report that the task of *tag* has ended, if its start was reported."""
        reported = self.reported
        if tag in reported.started:
            reported.remove(tag)
            self._report(lambda key: reported.end(key, tag))

    def on_cpu(self, tag: str, *, on: bool) -> None:
        """Report whether the task of *tag* has the processor, without waiting for anything."""
        if self._connection is not None and tag in self.reported.started:
            self._connection.send_now(("SADD" if on else "SREM", self._key(), ON_CPU + tag))

    def sync(self) -> None:
        """Report, at a renewal, which tasks run."""
        reported, running = self.reported, set(self._running())
        if not (reported.started or running):
            return
        if reported.reports_all:
            self._report(lambda key: [*reported.sync(key, set(self._running())), self._expire(key)])
        else:
            key = self._key()
            self._execute([*reported.sync(key, running), self._expire(key)])

    def close(self) -> None:
        """Close the connection of the reports."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _key(self) -> str:
        return self._store.keys.started(owner.RUN_ID)

    def _expire(self, key: str) -> Command:
        return "EXPIRE", key, self._expiry

    def _report(self, commands: Callable[[str], list[Command]]) -> None:
        pool = self._connections()
        if pool is None:
            self.reported.invalidate()
            return
        if self._connection is None:
            self._connection = ReplyOffConnection(pool)
        key = self._key()
        try:
            if not self._connection.send(lambda: commands(key)):
                self._execute(commands(key))
        except self._store.errors as error:
            self.reported.invalidate()
            logger.debug("the start or end of a task was not reported: %s", error)

    def _execute(self, commands: list[Command]) -> None:
        """Send *commands* on a connection whose replies are read."""
        try:
            with self._store.client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                pipe.execute()
        except BaseException:
            self.reported.invalidate()
            raise
