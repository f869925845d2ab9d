"""
What one child has fetched for itself, in memory that it shares with the main process.

The child writes, and the main process reads, but for three words. A number is written as a
whole; a text is there when its length is, which is written after it.
"""

import json
import mmap
from dataclasses import dataclass
from enum import IntEnum
from time import monotonic
from typing import Final

#: Bytes of what is known of a message, and of its text. A longer one the child hands over.
META: Final = 4096
TEXT: Final = 1 << 16

_HEADER: Final = 128


class State(IntEnum):
    """What a child does."""

    #: It waits for a job of the main process, or runs one.
    IDLE = 0
    #: It has sent a fetch, whose reply it has not read.
    FETCHING = 1
    #: It has a message, whose task has not started.
    TAKEN = 2
    RUNNING = 3
    #: The task has succeeded; its acknowledgement travels with the next fetch.
    ENDED = 4


class _Word(IntEnum):
    STATE = 0
    #: Number of the message.
    NUMBER = 1
    #: Number of the last one whose end the child settles.
    ENDED = 2
    #: Written by the main process: the last message that it adopted, and its job.
    ADOPTED = 3
    JOB = 4
    #: Written by the main process: the last one that it was handed.
    RECEIVED = 5
    META = 6
    TEXT = 7
    #: Two real numbers.
    STARTED = 8
    FETCHED = 9
    #: Number of the last one whose result the child gave to the job that it was adopted as.
    REPORTED = 10


@dataclass(frozen=True, slots=True)
class Fetched:
    """
    A message that a child has fetched.

    Attributes:
        queue, tag, list_key, marker: As of `transport.unacked.prefetched.Message`.

        text: The message; empty if it is too long for the slot.
    """

    queue: str
    tag: str
    list_key: str
    marker: str
    text: bytes


class Slot:
    """The memory of one child."""

    def __init__(self) -> None:
        block = memoryview(mmap.mmap(-1, _HEADER + META + TEXT))
        self._words = block[:_HEADER].cast("Q")
        self._reals = block[:_HEADER].cast("d")
        self._meta = block[_HEADER : _HEADER + META]
        self._text = block[_HEADER + META :]

    @property
    def state(self) -> State:
        """What the child does."""
        return State(self._words[_Word.STATE])

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a job of the main process, or runs one."""
        return self._words[_Word.STATE] == State.IDLE

    @property
    def is_known(self) -> bool:
        """Whether the main process can read what the child has: the slot has room for it."""
        return bool(self._words[_Word.META])

    @property
    def number(self) -> int:
        """The number of its last message."""
        return self._words[_Word.NUMBER]

    # The child

    def fetches(self, fetched_at: float) -> None:
        """Write that a fetch is sent, which writes *fetched_at* into entries."""
        if not self.has_ended:
            self._words[_Word.META] = 0
        self._reals[_Word.FETCHED] = fetched_at
        self._words[_Word.STATE] = State.FETCHING

    def takes(self, one: Fetched) -> int:
        """Write that *one* was fetched; return its number."""
        words = self._words
        words[_Word.META] = 0
        number = words[_Word.NUMBER] + 1
        meta = json.dumps([one.queue, one.tag, one.list_key, one.marker]).encode()
        if len(meta) <= META:
            self._meta[: len(meta)] = meta
            fits = len(one.text) <= TEXT
            if fits:
                self._text[: len(one.text)] = one.text
            words[_Word.TEXT] = len(one.text) if fits else 0
            words[_Word.NUMBER] = number
            words[_Word.META] = len(meta)
        else:
            words[_Word.NUMBER] = number
        words[_Word.STATE] = State.TAKEN
        return number

    def starts(self) -> None:
        """Write that the task of the message starts."""
        self._reals[_Word.STARTED] = monotonic()
        self._words[_Word.STATE] = State.RUNNING

    def hesitates(self) -> int:
        """Write that the task does not start yet; return the job that it was adopted as, or 0."""
        self._words[_Word.STATE] = State.TAKEN
        return self.job

    def ends(self) -> None:
        """Write that the task has succeeded, and that the child acknowledges it."""
        words = self._words
        words[_Word.ENDED] = words[_Word.NUMBER]
        words[_Word.STATE] = State.ENDED

    def rests(self, *, keep: bool = False) -> None:
        """Write that it waits for a job; *keep* the message, which it has handed over."""
        if not keep:
            self._words[_Word.META] = 0
        self._words[_Word.STATE] = State.IDLE

    def reports(self) -> int:
        """Write that the child gives the result to the job that it was adopted as; return that."""
        job = self.job
        if job:
            self._words[_Word.REPORTED] = self._words[_Word.NUMBER]
        return job

    @property
    def job(self) -> int:
        """The job that the message was adopted as; 0 if it was not."""
        words = self._words
        return words[_Word.JOB] if words[_Word.ADOPTED] == words[_Word.NUMBER] else 0

    # The main process

    @property
    def started(self) -> float:
        """When the task started, by the monotonic clock."""
        return self._reals[_Word.STARTED]

    @property
    def fetched_at(self) -> float:
        """What the fetch whose reply is awaited writes into entries."""
        return self._reals[_Word.FETCHED]

    @property
    def has_ended(self) -> bool:
        """Whether the child settles the end of its message."""
        return self._words[_Word.ENDED] == self._words[_Word.NUMBER]

    @property
    def settles(self) -> int:
        """The number of the last message whose end the child settles."""
        return self._words[_Word.ENDED]

    @property
    def adopted(self) -> tuple[int, int]:
        """The number of the last message that was adopted, and its job."""
        return self._words[_Word.ADOPTED], self._words[_Word.JOB]

    def adopts(self, number: int, job: int) -> bool:
        """
        Write that the message of *number* is *job* now; return whether it is.

        Its task runs then, or its child has just given the result to the job.
        """
        words = self._words
        words[_Word.JOB] = job
        words[_Word.ADOPTED] = number
        runs = words[_Word.NUMBER] == number and words[_Word.STATE] == State.RUNNING
        if runs or words[_Word.REPORTED] == number:
            return True
        words[_Word.ADOPTED] = 0
        return False

    def disowns(self) -> None:
        """Write that nothing is adopted."""
        self._words[_Word.ADOPTED] = 0

    def claims(self, number: int, job: int) -> None:
        """Write that the message of *number*, which the child is done with, is *job* now."""
        self._words[_Word.JOB] = job
        self._words[_Word.ADOPTED] = number

    @property
    def was_received(self) -> bool:
        """Whether the main process has the message, which the child handed over."""
        return self._words[_Word.RECEIVED] == self._words[_Word.NUMBER]

    def receives(self, number: int) -> None:
        """Write that the main process has the message of *number*."""
        self._words[_Word.RECEIVED] = number

    def message(self) -> Fetched | None:
        """Return what the child has, or had last; None if that is being changed."""
        words = self._words
        number, length = words[_Word.NUMBER], words[_Word.META]
        meta, text = bytes(self._meta[:length]), bytes(self._text[: words[_Word.TEXT]])
        if not length or words[_Word.NUMBER] != number or words[_Word.META] != length:
            return None
        try:
            queue, tag, list_key, marker = json.loads(meta)
        except ValueError:
            return None
        return Fetched(queue, tag, list_key, marker, text)

    def held(self) -> str | None:
        """Return the delivery tag of what the child has, or has ended; any thread may ask."""
        if self.is_idle and self.was_received:
            return None
        one = self.message()
        return None if one is None else one.tag
