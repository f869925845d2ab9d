"""
The lines of all children on one terminal: a prefix each, in colour if wanted; and in a file.
"""

from collections.abc import Callable, Mapping
from typing import TextIO

#: Foreground colours that can be read on black and on white.
_COLOURS = (36, 33, 35, 32, 34, 31)

#: The name of our own lines where they stand among those of children.
OURS = "up"


def wants_colour(out: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether *out* gets colour: it is a terminal; NO_COLOR and FORCE_COLOR override."""
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or out.isatty()


class Log:
    """
    Writes ``name | line`` to *out*, the names padded to *width*.

    When its reader is gone (a closed pipe) it stops writing and sets `broken`.
    """

    def __init__(self, out: TextIO, *, colour: bool, width: int = 10) -> None:
        self._out: TextIO | None = out
        self._colour = colour
        self._width = width
        self._numbers: dict[str, int] = {}
        #: Gets each line as well, without colour.
        self.copy: Callable[[str], None] | None = None
        self.broken = False

    def write(self, name: str, line: str) -> None:
        """Write one *line* of *name*; what *out* cannot encode is escaped."""
        prefix = plain = f"{name:<{self._width}} |"
        if self._colour:
            number = self._numbers.setdefault(name, len(self._numbers))
            prefix = f"\x1b[{_COLOURS[number % len(_COLOURS)]}m{prefix}\x1b[0m"
        if self.copy is not None:
            self.copy(f"{plain} {line}\n")
        self._write(f"{prefix} {line}\n")

    def say(self, text: str = "") -> None:
        """Write *text* of ours, without a prefix; in the copy it has one."""
        self.say_copy(text)
        self._write(f"{text}\n")

    def say_copy(self, text: str) -> None:
        """Write *text* of ours to the copy alone."""
        if self.copy is not None:
            for line in text.splitlines():
                self.copy(f"{OURS:<{self._width}} | {line}\n")

    def end_terminal(self) -> None:
        """Write to the copy alone from here on."""
        self._out = None

    def _write(self, text: str) -> None:
        if self.broken or self._out is None:
            return
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        try:
            self._out.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._out.flush()
        except (OSError, ValueError):
            self.broken = True
