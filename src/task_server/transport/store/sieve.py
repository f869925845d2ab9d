"""
Deletes some messages of a list, in calls of some milliseconds each, however many there are.

What is kept is copied, portion by portion, to a list beside it, which at the end takes its
place in one step. Until then nothing has changed: whoever fetches goes on, and one who dies
half way leaves a copy that expires. What was fetched meanwhile is taken out of the copy, and
what arrived stays.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any, Final
from uuid import uuid4

from redis.exceptions import ResponseError

from task_server.transport.store.keys import Keys
from task_server.transport.store.portions import SCAN_SECONDS, SCANNED_FIRST, SCANNED_MOST
from task_server.transport.store.scripts import KEEP, SWAP

#: Seconds for which the copy stays if nothing follows.
COPY_SECONDS: Final = 600

#: Messages that may have arrived when the copy takes the place of the list; more are looked at.
ARRIVED: Final = 200

#: How many others may take between two calls; and how far it is searched for the rest.
NEAR: Final = 100
FAR: Final = 2000

#: How often it is tried, while others change the list.
ATTEMPTS: Final = 50

#: Bytes of a SHA-1.
WIDTH: Final = 20

Matches = Callable[[bytes], bool]


class MovedError(Exception):
    """Raised when others change the list faster than it can be looked at."""


def matching(client: Any, name: str, matches: Matches) -> int:
    """Return how many messages of the list *name* match, about: others may change it."""
    return sum(map(matches, (text for page in _pages(client, name) for text in page)))


def _pages(client: Any, name: str) -> Iterator[list[bytes]]:
    """Return the messages of the list, the oldest first, some at a time."""
    behind, count = 0, SCANNED_FIRST
    while True:
        found, count = _page(client, name, behind, count)
        if not found:
            return
        behind += len(found)
        yield found


def _page(client: Any, name: str, behind: int, count: int) -> tuple[list[bytes], int]:
    """Return *count* messages before *behind* older ones, the oldest first; and the next count."""
    started = monotonic()
    found = client.lrange(name, -(behind + count), -(behind + 1))
    is_quick = monotonic() - started < SCAN_SECONDS
    found.reverse()
    return found, min(SCANNED_MOST, count * 2) if is_quick else max(SCANNED_FIRST, count // 2)


def delete(client: Any, keys: Keys, name: str, matches: Matches) -> int:
    """
    Delete the messages of the list *name* that match; return how many.

    Raises:
        MovedError: When others change the list too fast; nothing is deleted then.

        RedisError: When Redis does not answer, or refuses; as above.
    """
    for _ in range(ATTEMPTS):
        sieve = _Sieve(client, keys, name, matches)
        try:
            return sieve.run()
        except MovedError:
            continue
        finally:
            sieve.discard()
    raise MovedError(name)


class _Sieve:
    """
    One attempt.

    Attributes:
        copy: The list of what is kept.
    """

    def __init__(self, client: Any, keys: Keys, name: str, matches: Matches) -> None:
        self.copy = f"{keys.unacked}.purge:{uuid4().hex}"
        self._client = client
        self._name = name
        self._matches = matches
        #: Of each message that was looked at, the oldest first: its SHA-1, and whether it is kept.
        self._shas = bytearray()
        self._kept = bytearray()
        #: How many of the first were taken by others.
        self._gone = 0
        #: What arrives later stays.
        self._most = int(client.llen(name))

    def run(self) -> int:
        """Delete, and return how many; raises as `delete`."""
        for _ in range(ATTEMPTS):
            self._look()
            if not self._left or all(self._kept[self._gone :]):
                return 0
            if self._swap():
                return self._kept[self._gone :].count(0)
            self._find()
        raise MovedError(self._name)

    def discard(self) -> None:
        """Delete the copy, if it is there; else it expires."""
        with suppress(ResponseError):
            self._client.unlink(self.copy)

    @property
    def _left(self) -> int:
        """How many that were looked at are there still."""
        return len(self._kept) - self._gone

    def _look(self) -> None:
        """Look at what was not looked at, and copy what is kept."""
        count = SCANNED_FIRST
        while True:
            started = monotonic()
            found = self._client.lrange(
                self._name, -(self._left + count), -max(1, self._left - NEAR)
            )
            is_quick = monotonic() - started < SCAN_SECONDS
            found.reverse()
            page = self._after(found)
            if not page:
                if page is None and found:
                    self._find()
                    continue
                return
            if self._keep(page):
                count = min(SCANNED_MOST, count * 2) if is_quick else max(SCANNED_FIRST, count // 2)
            else:
                self._find()

    def _after(self, found: list[bytes]) -> list[bytes] | None:
        """Return those of *found* that are newer than what was looked at; None without that."""
        if not self._left:
            return found
        newest = self._sha(-1)
        place = next((n for n, text in enumerate(found) if _sha(text) == newest), None)
        return None if place is None else found[place + 1 :]

    def _keep(self, page: list[bytes]) -> bool:
        """Copy what is kept of *page*, the oldest first; return whether it lies there still."""
        shas = [_sha(text) for text in page]
        room = self._most - len(self._kept)
        kept = bytes(n >= room or not self._matches(one) for n, one in enumerate(page))
        marks = "".join("1" if one else "0" for one in reversed(kept))
        arguments = (self._left, COPY_SECONDS, marks, shas[0].hex(), shas[-1].hex(), NEAR)
        taken = int(KEEP.run(self._client, [self._name, self.copy], arguments))
        if taken < 0:
            return False
        self._gone += taken
        self._shas += b"".join(shas)
        self._kept += kept
        return True

    def _find(self) -> None:
        """
        Find how many were taken meanwhile.

        Raises:
            MovedError: When something else happened: one was put back, for example.
        """
        left, newest = self._left, self._sha(-1)
        if not left:
            return
        with self._client.pipeline(transaction=True) as pipe:
            pipe.llen(self._name).lrange(self._name, -left, -max(1, left - FAR))
            length, found, oldest = pipe.lindex(self._name, -1).execute()
        place = next((n for n, text in enumerate(found) if _sha(text) == newest), None)
        if length and place is None:
            raise MovedError(self._name)
        # It may have become shorter than what was looked at.
        self._gone += left - (min(left, length) - (place or 0))
        if self._left and _sha(oldest) != self._sha(self._gone):
            raise MovedError(self._name)

    def _swap(self) -> bool:
        names = [self._name, self.copy, f"{self.copy}.trash"]
        gone = self._kept[: self._gone].count(1)
        oldest = range(self._gone, min(len(self._kept), self._gone + NEAR))
        arguments = [
            *(self._left, self._sha(-1).hex(), gone, self._kept.count(1), ARRIVED),
            *(part for n in oldest for part in (self._sha(n).hex(), self._kept[n])),
        ]
        taken = int(SWAP.run(self._client, names, arguments))
        self._gone += max(0, taken)
        return taken >= 0

    def _sha(self, number: int) -> bytes:
        first = (number if number >= 0 else len(self._kept) + number) * WIDTH
        return bytes(self._shas[first : first + WIDTH])


def _sha(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).digest()
