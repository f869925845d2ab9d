"""What a project's use of asyncio means for gevent workers."""

from collections.abc import Iterator

from task_server.checks.facts import Context, listed
from task_server.errors import Finding


def event_loops(context: Context) -> Iterator[Finding]:
    """Report what does not work, or works differently, with asyncio in greenlets."""
    green = [name for name, one in context.workers.items() if one.pool_row.green]
    for name in green:
        if context.workers[name].asyncio == "shared":
            yield Finding(
                "warning",
                f"workers.{name}.asyncio",
                "shared: while one task runs an event loop, no other task can start one, and "
                "Django's ORM refuses to work for them",
                "leave it out, unless no task uses asyncio",
            )
    if context.facts is None or not green:
        return
    if context.facts.loop_maker:
        yield Finding(
            "error",
            "asyncio",
            f"{context.facts.loop_maker} makes the event loops; they wait outside gevent, so on "
            f"{listed(green)} a task that runs one stops all others",
            "set its policy only in web processes, not in modules that workers import",
        )
    if context.facts.loops:
        yield Finding(
            "info",
            "asyncio",
            f"{listed(context.facts.loops)} is one event loop for all tasks; on {listed(green)} "
            "tasks that use it wait for each other",
            "use asyncio.run in each task, or leave it if that is fine",
        )
