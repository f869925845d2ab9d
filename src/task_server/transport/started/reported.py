"""What one process has reported of its started tasks, and what it has to report next."""

from collections.abc import Callable
from typing import Any

from task_server.transport.started.crashes import COMPLETE, ON_CPU

Command = tuple[Any, ...]


class ReportedTasks:
    """
    What this process has reported to one broker, across its connections.

    Attributes:
        started: Delivery tags of the tasks whose start, and no end, was reported,
            or is about to be.

        marked: Those of them that are marked; while there is one all is reported.
    """

    def __init__(self) -> None:
        self.started: set[str] = set()
        self.marked: set[str] = set()
        self._complete = False
        self._unsure = False
        #: Start as soon as it is reported.
        self._expected: set[str] = set()
        #: Reported as ended, while their greenlets still acknowledge.
        self._ended: set[str] = set()
        #: Not among those that ran, at the last `sync`.
        self._missing: set[str] = set()

    @property
    def reports_all(self) -> bool:
        """Whether each start is to be reported, that of an unmarked message too."""
        return bool(self.marked)

    def expect(self, tag: str, *, marked: bool) -> None:
        """Expect the task of *tag* to start as soon as that is reported."""
        self._expected.add(tag)
        self._ended.discard(tag)
        if marked:
            self.marked.add(tag)

    def add(self, tag: str) -> None:
        """Add the task of *tag*, which starts now, reported or not."""
        self._expected.discard(tag)
        self.started.add(tag)

    def remove(self, tag: str) -> None:
        """Remove the task of *tag*, which has ended."""
        self.started.discard(tag)
        self.marked.discard(tag)
        self._ended.add(tag)

    def invalidate(self) -> None:
        """Report everything next time: something may not have arrived."""
        self._complete, self._unsure = False, True

    def start(self, key: str, tag: str, running: Callable[[], set[str]]) -> list[Command]:
        """
        Return what reports that the task of *tag*, which was expected, starts now.

        *running* returns, when the first marked one starts, what runs unreported.
        """
        self.add(tag)
        if self._complete:
            return [("SADD", key, tag)]
        self.started |= running() - self._ended - self._expected
        return self.everything(key)

    def end(self, key: str, tag: str) -> list[Command]:
        """Return what reports that the task of *tag*, which was removed, has ended."""
        if self._unsure:
            return self.everything(key)
        members = [tag, ON_CPU + tag]
        if self._complete and not self.marked:
            # From now on not all is reported.
            self._complete = False
            members.append(COMPLETE)
        return [("SREM", key, *members)]

    def sync(self, key: str, running: set[str]) -> list[Command]:
        """
        Return what reports that *running* run, and no others.

        A child of prefork may not have announced yet what it started: a task
        has ended when it is missing twice.
        """
        before = set(self.started)
        missing = self.started - running
        gone = missing & self._missing if self.marked else missing
        self._missing = missing - gone
        self._ended &= running
        self.started = (self.started - gone) | (running - self._ended - self._expected)
        self.marked -= gone
        if self._unsure or self.marked or self._complete:
            return self.everything(key)
        added, removed = self.started - before, before - self.started
        commands: list[Command] = []
        if added:
            commands.append(("SADD", key, *added))
        if removed:
            commands.append(("SREM", key, *removed))
        return commands

    def everything(self, key: str) -> list[Command]:
        """Return what replaces all that was reported."""
        self._complete, self._unsure = bool(self.marked), False
        members = [*self.started, *([COMPLETE] if self._complete else [])]
        return [("DEL", key), *([("SADD", key, *members)] if members else [])]
