"""Findings that have a place in the source."""

from task_server.checks.static.module import Place
from task_server.errors import Finding, Level

#: A finding, and the last line of what it is about.
At = tuple[Finding, int]

NOT_READ = "file-not-read"


def found(rule: str, level: Level, place: Place, message: str, repair: str = "") -> At:
    """Return the finding of *rule* at *place*."""
    finding = Finding(
        level,
        f"{place.path}:{place.line}",
        message,
        repair,
        rule=rule,
        path=place.path,
        line=place.line,
        column=place.column,
    )
    return finding, max(place.end_line, place.line)


def not_read(path: str, reason: str) -> Finding:
    """Return the finding for what was not read, so that nothing is known of it."""
    return Finding(
        "warning",
        path,
        f"{reason}; nothing is known of it",
        "leave it out of the paths, or see why",
        rule=NOT_READ,
        path=path,
        line=1,
        column=1,
    )
