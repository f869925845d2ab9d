"""
The lines of all children on one terminal: a prefix each, in colour if wanted.
"""

from collections.abc import Mapping
from typing import TextIO

#: Foreground colours that can be read on black and on white.
_COLOURS = (36, 33, 35, 32, 34, 31)


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
        self._out = out
        self._colour = colour
        self._width = width
        self._numbers: dict[str, int] = {}
        self.broken = False

    def write(self, name: str, line: str) -> None:
        """Write one *line* of *name*; what *out* cannot encode is escaped."""
        prefix = f"{name:<{self._width}} |"
        if self._colour:
            number = self._numbers.setdefault(name, len(self._numbers))
            prefix = f"\x1b[{_COLOURS[number % len(_COLOURS)]}m{prefix}\x1b[0m"
        text = f"{prefix} {line}\n"
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        text = text.encode(encoding, "backslashreplace").decode(encoding)
        if self.broken:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            self.broken = True
