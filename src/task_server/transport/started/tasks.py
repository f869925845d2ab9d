"""What one process has told of its begun tasks, and the next word that has to be told."""

from collections.abc import Callable
from typing import Any

from task_server.transport.started.crashes import COMPLETE, ON_CPU

Command = tuple[Any, ...]


class Told:
    """
    What this process has told one broker, whatever becomes of connections.

    Attributes:
        begun: Delivery tags of the tasks of which Redis has heard, or is about
            to, that they have begun and not ended.

        marked: Those of them that are marked; while there is one all is told.
    """

    def __init__(self) -> None:
        self.begun: set[str] = set()
        self.marked: set[str] = set()
        self._complete = False
        self._unsure = False
        #: Begin as soon as it is told.
        self._coming: set[str] = set()
        #: Told as ended, while their greenlets still acknowledge.
        self._ended: set[str] = set()
        #: Not among those that ran, at the last look.
        self._missing: set[str] = set()

    @property
    def tells_all(self) -> bool:
        """Whether each begin is to be told, that of an unmarked message too."""
        return bool(self.marked)

    def comes(self, tag: str, *, marked: bool) -> None:
        """Take note that the task of *tag* begins as soon as that is told."""
        self._coming.add(tag)
        self._ended.discard(tag)
        if marked:
            self.marked.add(tag)

    def add(self, tag: str) -> None:
        """Take note that the task of *tag* begins now, told or not."""
        self._coming.discard(tag)
        self.begun.add(tag)

    def remove(self, tag: str) -> None:
        """Take note that the task of *tag* has ended."""
        self.begun.discard(tag)
        self.marked.discard(tag)
        self._ended.add(tag)

    def failed(self) -> None:
        """Take note that something may not have arrived: the next word tells everything."""
        self._complete, self._unsure = False, True

    def begins(self, key: str, tag: str, running: Callable[[], set[str]]) -> list[Command]:
        """
        Return what tells that the task of *tag*, which comes, begins now.

        *running* is asked, when the first marked one begins, what runs untold.
        """
        self.add(tag)
        if self._complete:
            return [("SADD", key, tag)]
        self.begun |= running() - self._ended - self._coming
        return self.everything(key)

    def ends(self, key: str, tag: str) -> list[Command]:
        """Return what tells that the task of *tag*, which was removed, has ended."""
        if self._unsure:
            return self.everything(key)
        members = [tag, ON_CPU + tag]
        if self._complete and not self.marked:
            # From now on not all is told.
            self._complete = False
            members.append(COMPLETE)
        return [("SREM", key, *members)]

    def look(self, key: str, running: set[str]) -> list[Command]:
        """
        Return what tells that *running* run, and no others.

        A child of prefork may not have said yet that it has begun what it was
        given: who is missing has ended when it is missing twice.
        """
        before = set(self.begun)
        missing = self.begun - running
        gone = missing & self._missing if self.marked else missing
        self._missing = missing - gone
        self._ended &= running
        self.begun = (self.begun - gone) | (running - self._ended - self._coming)
        self.marked -= gone
        if self._unsure or self.marked or self._complete:
            return self.everything(key)
        added, removed = self.begun - before, before - self.begun
        commands: list[Command] = []
        if added:
            commands.append(("SADD", key, *added))
        if removed:
            commands.append(("SREM", key, *removed))
        return commands

    def everything(self, key: str) -> list[Command]:
        """Return what takes the place of all that was told."""
        self._complete, self._unsure = bool(self.marked), False
        members = [*self.begun, *([COMPLETE] if self._complete else [])]
        return [("DEL", key), *([("SADD", key, *members)] if members else [])]
