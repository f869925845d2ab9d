"""The rules that need no server, in the order of their lines."""

from collections.abc import Callable, Iterator

from task_server.checks import content, database, delivery, routing, times
from task_server.checks.facts import Case
from task_server.findings import Finding

RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
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
)


def offline(case: Case) -> Iterator[Finding]:
    """Return what every rule finds in *case*."""
    for rule in RULES:
        yield from rule(case)
