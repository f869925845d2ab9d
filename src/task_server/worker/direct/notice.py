"""
What the main process tells its children that fetch for themselves, in memory that they share.

A child looks before each fetch and each task at two words, and reads the rest when that has
changed.
"""

import json
import mmap
from dataclasses import asdict, dataclass
from typing import Final

_HEADER: Final = 64

#: Bytes of what is told.
MOST: Final = 1 << 20

#: Words: how often it has changed (odd meanwhile); whether jobs wait; the length.
_REVISION, _WANTED, _LENGTH = range(3)


@dataclass(frozen=True, slots=True)
class Terms:
    """
    How children fetch.

    Attributes:
        open: Whether they do.

        queues: From where.

        node: Name of the worker.

        pid: Its main process.

        revoked: Ids of tasks that are not to run.

        stamps: Whether tasks are revoked by their stamps.

        limited: Names of the tasks that pass through the main process.
    """

    open: bool = False
    queues: tuple[str, ...] = ()
    node: str = ""
    pid: int = 0
    revoked: tuple[str, ...] = ()
    stamps: bool = False
    limited: tuple[str, ...] = ()


class Notice:
    """The memory, written by the main process and read by all of its children."""

    def __init__(self) -> None:
        block = memoryview(mmap.mmap(-1, _HEADER + MOST))
        self._words = block[:_HEADER].cast("Q")
        self._text = block[_HEADER:]

    @property
    def revision(self) -> int:
        """How often it has changed."""
        return self._words[_REVISION]

    @property
    def wanted(self) -> bool:
        """Whether jobs of the main process wait for a child."""
        return bool(self._words[_WANTED])

    def want(self, *, wanted: bool) -> None:
        """Say whether jobs wait for a child."""
        self._words[_WANTED] = wanted

    def tell(self, terms: Terms) -> bool:
        """Tell *terms*; return False if there is too much to tell: nobody fetches then."""
        text = json.dumps(asdict(terms)).encode()
        fits = len(text) <= MOST
        if not fits:
            text = json.dumps(asdict(Terms())).encode()
        words = self._words
        words[_REVISION] += 1
        words[_LENGTH] = len(text)
        self._text[: len(text)] = text
        words[_REVISION] += 1
        return fits

    def read(self) -> tuple[int, Terms]:
        """Return the revision, and what is told."""
        words = self._words
        while True:
            revision = words[_REVISION]
            text = bytes(self._text[: words[_LENGTH]])
            if not revision:
                return 0, Terms()
            if revision % 2 == 0 and words[_REVISION] == revision:
                break
        values = json.loads(text)
        for name in ("queues", "revoked", "limited"):
            values[name] = tuple(values[name])
        return revision, Terms(**values)
