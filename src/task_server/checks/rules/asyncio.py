"""What a project's use of asyncio means for gevent workers."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from task_server.checks.facts import Case, listed
from task_server.errors import Finding


def kept(tasks: Iterable[Any]) -> tuple[tuple[str, ...], str]:
    """
    Look for event loops that the modules of *tasks*, and others of their packages, keep.

    Returns:
        Their names, and whose loops asyncio makes, empty if they are its own.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return (), ""
    packages = {type(task).__module__.partition(".")[0] for task in tasks} - {"celery"}
    found = []
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] in packages:
            found += [
                f"{name}.{attribute}"
                for attribute, value in list(vars(module).items())
                # Not isinstance, which makes lazy objects be what they stand for.
                if issubclass(type(value), asyncio.AbstractEventLoop)
            ]
    policy = type(getattr(asyncio.events, "_event_loop_policy", None)).__module__
    return tuple(found), "" if policy.startswith(("asyncio.", "builtins")) else policy


def event_loops(case: Case) -> Iterator[Finding]:
    """Name what does not work, or works in another way, with asyncio in greenlets."""
    green = [name for name, one in case.profiles.items() if one.worker.pool == "gevent"]
    for name in green:
        if case.profiles[name].worker.asyncio == "shared":
            yield Finding(
                "warning",
                f"workers.{name}.asyncio",
                "is shared: while one task is in an event loop, others can start none, and "
                "Django's ORM refuses them",
                "leave it out, unless no task uses asyncio",
            )
    if case.facts is None or not green:
        return
    if case.facts.loop_maker:
        yield Finding(
            "error",
            "asyncio",
            f"{case.facts.loop_maker} makes the event loops; they wait outside gevent, so that on "
            f"{listed(green)} a task in one stops all others",
            "choose it in web processes only, and not where workers import it",
        )
    if case.facts.loops:
        yield Finding(
            "info",
            "asyncio",
            f"{listed(case.facts.loops)} is one event loop for all tasks; on {listed(green)} "
            "those that run it wait for each other",
            "nothing, or asyncio.run in each task",
        )
