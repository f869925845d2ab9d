"""
What one process has finished, added up by task and queue, in a block of memory.

A block is shared with a child that is forked later: the child adds, and the main process reads.
So a child needs no connection and sends nothing; what it has added up outlives it, however it ends.
Both see whole numbers, which only grow; a row that was read half is whole at the next reading.
"""

import mmap
import struct
from collections.abc import Iterator
from typing import Any, Final

from task_server.transport.store.statistics import (
    BOUNDS,
    COUNTS,
    ENDS,
    NUMBERS,
    Row,
    bucket,
    field_of,
    row_of,
)

#: Rows of one block. What does not fit is added to the first, which has no name.
ROWS: Final = 256

#: Bytes of a name.
NAME: Final = 256

#: Eight bytes each: the length of the name, the name, the numbers.
_NAME_WORDS: Final = NAME // 8
_ROW_WORDS: Final = 1 + _NAME_WORDS + len(NUMBERS)
_NUMBERS: Final = struct.Struct(f"={len(NUMBERS)}Q")

#: The whole block, behind the number of rows that are in use.
SIZE: Final = 8 * (1 + ROWS * _ROW_WORDS)

_ENDS: Final = {name: COUNTS.index(name) for name in ENDS}
_RUN, _WAITED, _WAIT = (COUNTS.index(name) for name in ("run", "waited", "wait"))
_RUN_BUCKETS: Final = len(COUNTS)
_WAIT_BUCKETS: Final = _RUN_BUCKETS + len(BOUNDS) + 1

#: The row of what does not fit.
REST: Final[Row] = ("", "")


class Tally:
    """
    The numbers of one process.

    Args:
        block: `SIZE` bytes, all 0.
    """

    def __init__(self, block: Any) -> None:
        self._words = memoryview(block).cast("B").cast("Q")
        self._offsets: dict[Row, int] = {}
        self._read: dict[int, bytes] = {}
        self._offsets[REST] = self._new_row(b'["",""]')

    @classmethod
    def shared(cls) -> "Tally":
        """Return one in memory that is shared with the children that are forked later."""
        return cls(mmap.mmap(-1, SIZE))

    @classmethod
    def own(cls) -> "Tally":
        """Return one in the memory of this process."""
        return cls(bytearray(SIZE))

    def add(self, row: Row, end: str, run: float | None, waited: float | None) -> None:
        """
        Add one run of a task.

        Args:
            end: One of `ENDS`.

            run: Seconds that it ran; None if unknown.

            waited: Seconds from its sending to its start; None if unknown.
        """
        at = self._offsets.get(row)
        if at is None:
            at = self._offset_of(row)
        words = self._words
        words[at + _ENDS[end]] += 1
        if run is not None:
            words[at + _RUN] += int(run * 1e6)
            words[at + _RUN_BUCKETS + bucket(run)] += 1
        if waited is not None:
            words[at + _WAITED] += 1
            words[at + _WAIT] += int(waited * 1e6)
            words[at + _WAIT_BUCKETS + bucket(waited)] += 1

    def changes(self) -> Iterator[tuple[Row, dict[str, int]]]:
        """Return by how much the numbers have grown since the last call, without those of 0."""
        words = self._words
        for number in range(min(int(words[0]), ROWS)):
            start = 1 + number * _ROW_WORDS
            at = start + 1 + _NAME_WORDS
            now = words[at : at + len(NUMBERS)].tobytes()
            before = self._read.get(number, bytes(len(now)))
            if now == before:
                continue
            length = min(int(words[start]), NAME)
            row = row_of(words[start + 1 : at].tobytes()[:length])
            if row is None or len(row) != len(REST):
                continue  # Its name is not whole yet.
            self._read[number] = now
            pairs = zip(NUMBERS, _NUMBERS.unpack(now), _NUMBERS.unpack(before), strict=True)
            yield (row[0], row[1]), {name: new - old for name, new, old in pairs if new > old}

    def _offset_of(self, row: Row) -> int:
        name = field_of(*row).encode("utf-8", "surrogatepass")
        is_full = int(self._words[0]) >= ROWS or len(name) > NAME
        at = self._offsets[REST] if is_full else self._new_row(name)
        if len(self._offsets) < 2 * ROWS:
            self._offsets[row] = at
        return at

    def _new_row(self, name: bytes) -> int:
        """Write *name* into a new row and return where its numbers begin."""
        words = self._words
        used = int(words[0])
        start = 1 + used * _ROW_WORDS
        words[start] = len(name)
        padded = name.ljust(NAME, b"\0")
        for index, (word,) in enumerate(struct.iter_unpack("=Q", padded)):
            words[start + 1 + index] = word
        # It is read from now on.
        words[0] = used + 1
        return start + 1 + _NAME_WORDS
