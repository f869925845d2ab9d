"""Routes that no task takes."""

import fnmatch
import re
from collections.abc import Iterator

from task_server.checks.static.findings import At, found
from task_server.checks.static.literals import Pattern
from task_server.checks.static.names import Project
from task_server.checks.static.registered import Registered
from task_server.checks.static.tables import rows

#: What a regular expression begins with before anything of it is not plain text.
_PLAIN = re.compile(r"\^?((?:[\w]|\\\.)*)")


def unused(project: Project) -> Iterator[At]:
    """Find routes of the project's own tasks that none of them has."""
    registered = Registered(project)
    for _, row, place in rows(project, "task_routes"):
        # A regular expression may take for ever: the file that has it is to blame.
        project.at(place.path)
        why = _why(row.key, registered)
        if why:
            shown = row.key.text if isinstance(row.key, Pattern) else row.key
            yield found(
                "route-matches-nothing",
                "warning",
                place,
                f"the route of {shown!r} applies to no task: {why}; the tasks that it is meant "
                "for go to another queue",
                registered.near(shown.rstrip("*")) or "correct the name, or remove the route",
            )


def _why(key: object, registered: Registered) -> str:  # noqa: PLR0911 - a doubt a case
    if isinstance(key, str) and "*" not in key:
        return registered.why_not(key)
    if isinstance(key, str):
        head, pattern = key.split("*")[0], fnmatch.translate(key)
    elif isinstance(key, Pattern):
        match = _PLAIN.match(key.text)
        head, pattern = (match[1].replace("\\.", ".") if match else ""), key.text
    else:
        return ""
    top, dot, _ = head.partition(".")
    project = registered.project
    if not dot or top not in project.packages or len(pattern) > 1000:  # noqa: PLR2004
        return ""
    if registered.some_unknown or any(one.dynamic for one in project.modules):
        return ""
    if registered.may_hide(head):
        return ""
    try:
        matches = re.compile(pattern).match
    except (re.error, RecursionError, OverflowError):
        return ""
    tails = [name.split(".") for name in registered.names]
    # A folder more or less may be on the path.
    every = (".".join(parts[start:]) for parts in tails for start in range(len(parts)))
    if any(matches(name) for name in every):
        return ""
    return f"no task of the project has such a name ({len(registered.names)} have another)"
