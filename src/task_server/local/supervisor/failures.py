"""The messages for a child that was not ready in time, that ended, or a job that failed."""

import os
from collections.abc import Sequence

from task_server.errors import ChildDiedError, LocalServerError
from task_server.local.supervisor.process import Process


def not_ready(process: Process) -> str:
    """Return the message for a *process* that exceeded its start_seconds."""
    child = process.child
    return with_lines(
        f"{child.name} (pid {process.pid}) was not ready after {child.start_seconds:g} s.",
        process.last_lines,
    )


def ended(process: Process) -> str:
    """Return the message for a *process* that ended before it was ready."""
    lines = tuple(process.last_lines)
    return str(ChildDiedError(process.child.name, process.returncode or 0, lines))


def explain(stage: Sequence[Process], error: ChildDiedError) -> None:
    """
    Explain *error*, which ended the start of *stage*, if a child of it can.

    Raises:
        LocalServerError: With the explanation.
    """
    for process in stage:
        text = None
        if not process.alive and process.child.explain is not None:
            text = process.child.explain(tuple(process.last_lines))
        if text is not None:
            raise LocalServerError(with_lines(text, process.last_lines)) from error


def failed(process: Process, returncode: int) -> str:
    """Return the message for a job that ended with *returncode*."""
    child = process.child
    lines = tuple(process.last_lines)
    text = child.explain(lines) if child.explain is not None else None
    command = os.path.basename(child.argv[0])  # noqa: PTH119
    return with_lines(text or f"{command} failed ({returncode}).", lines)


def with_lines(text: str, lines: Sequence[str]) -> str:
    """Return *text*, followed by the last *lines* of the child."""
    if not lines:
        return text
    return "\n".join([f"{text} Its last lines:", *(f"  {line}" for line in lines)])
