"""The rules that need no server, in the order of their lines."""

from collections.abc import Callable, Iterator, Mapping

from task_server.checks.facts import Case
from task_server.checks.rules import (
    asyncio as loops,
)
from task_server.checks.rules import (
    broker as content,
)
from task_server.checks.rules import (
    database,
    delivery,
    routing,
)
from task_server.checks.rules import (
    timeouts as times,
)
from task_server.errors import Finding

RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    content.eager,
    content.broker,
    content.results,
    content.pickle,
    content.connections,
    content.replaced,
    routing.queues,
    times.visibility,
    times.soft_limits,
    times.drain,
    delivery.delivery,
    delivery.transports,
    delivery.stalls,
    delivery.events,
    database.databases,
    loops.event_loops,
)


#: Rules whose answer is the project's as much as ours, and what they are about.
OF_THE_PROJECT: Mapping[Callable[[Case], Iterator[Finding]], str] = {
    content.broker: "broker",
    content.results: "results",
    content.pickle: "serializers",
    content.connections: "connections",
    routing.queues: "queues",
    times.visibility: "visibility timeout",
    times.soft_limits: "time limits",
    delivery.delivery: "delivery",
    delivery.stalls: "prefetch",
    delivery.events: "events",
    database.databases: "databases",
}


def offline(case: Case) -> Iterator[Finding]:
    """
    Return what every rule finds in *case*.

    Where the project could not be read, what would rest on defaults instead of its
    settings is not said.
    """
    for rule in RULES:
        if not (case.unread and rule in OF_THE_PROJECT):
            yield from _judged(rule, case)
    if case.unread:
        yield Finding(
            "info",
            "not checked",
            f"{', '.join(OF_THE_PROJECT.values())}: they depend on the project, which could not "
            "be read",
        )


def _judged(rule: Callable[[Case], Iterator[Finding]], case: Case) -> Iterator[Finding]:
    """Return what *rule* finds, or that a setting is of another type than Celery's own."""
    found = []
    try:
        # What it said before it came to that is told all the same.
        for finding in rule(case):
            found.append(finding)  # noqa: PERF402
    except (TypeError, ValueError, AttributeError, OverflowError, KeyError) as error:
        about = OF_THE_PROJECT.get(rule, rule.__name__)
        found.append(
            Finding(
                "warning",
                "not checked",
                f"{about}: a setting of the project is not what Celery's documentation has it "
                f"({type(error).__name__}: {str(error)[:200]})",
                "correct its type; a worker may end of it",
            )
        )
    yield from found
