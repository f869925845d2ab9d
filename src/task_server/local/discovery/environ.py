"""os.environ that records which of our variables a project reads."""

import os
from collections import deque
from collections.abc import Iterator
from typing import ClassVar


class RecordingEnviron(type(os.environ)):  # type: ignore[misc]
    """
    Records the variables that are read one by one, not those of a whole iteration.

    The state is the class's, since the class of the existing os.environ is replaced.
    """

    #: Every variable that was read.
    seen: ClassVar[set[str]] = set()
    #: What we have set, and the project has not.
    ours: ClassVar[set[str]] = set()
    #: What an iteration, a copy of all for example, has yet to read.
    _iterating: ClassVar[deque[str]] = deque()

    @classmethod
    def install(cls, ours: tuple[str, ...]) -> None:
        """Record what os.environ is asked for from here on; *ours* are the variables of ours."""
        cls.ours.update(ours)
        os.environ.__class__ = cls

    @classmethod
    def read(cls) -> tuple[str, ...]:
        """Return the variables of ours that were read, sorted."""
        return tuple(sorted(cls.seen & cls.ours))

    def __getitem__(self, key: str) -> str:
        cls = RecordingEnviron
        if cls._iterating and cls._iterating[0] == key:
            cls._iterating.popleft()
        else:
            cls._iterating.clear()
            cls.seen.add(key)
        value: str = super().__getitem__(key)
        return value

    def setdefault(self, key: str, value: str) -> str:
        """Let the project's own value (of its .env) take precedence over ours."""
        if key in RecordingEnviron.ours:
            RecordingEnviron.ours.discard(key)
            RecordingEnviron.seen.discard(key)
            self[key] = value
        kept: str = super().setdefault(key, value)
        return kept

    def __iter__(self) -> Iterator[str]:
        RecordingEnviron._iterating = deque(super().__iter__())
        return iter(tuple(RecordingEnviron._iterating))
