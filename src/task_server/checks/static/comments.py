"""Suppression in a comment, `# task-server: ignore[RULE] reason`, of a line or a whole file."""

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

#: As it stands in the bytes of any file that has one.
MARK = re.compile(rb"task-server:\s*ignore")

_COMMENT = re.compile(r"#\s*task-server:\s*ignore\b(?:\s*\[(?P<rules>[^\]]*)\])?")

#: More than anybody writes in one file.
MOST = 1000


@dataclass(slots=True)
class Suppression:
    """One comment: its file, line, the rules it names, and whether it is for the whole file."""

    path: str
    line: int
    column: int
    rules: tuple[str, ...]
    everywhere: bool


def suppressions(path: str, source: bytes, first_line: int) -> Iterator[Suppression]:
    """Return the comments of *source* that suppress rules; *first_line* is that of its code."""
    if not MARK.search(source):
        return
    found = 0
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            match = _COMMENT.search(token.string) if token.type == tokenize.COMMENT else None
            if match is None or found >= MOST:
                continue
            found += 1
            line, column = token.start
            names = tuple(one.strip() for one in (match["rules"] or "").split(",") if one.strip())
            alone = not token.line[:column].strip()
            yield Suppression(path, line, column + 1, names, alone and line < first_line)
    except (tokenize.TokenError, SyntaxError, ValueError):
        return
