"""The rules that need no server, in the order of their lines."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from task_server.checks.facts import Context
from task_server.checks.rules import asyncio, broker, database, delivery, routing, timeouts
from task_server.errors import Finding


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One rule of the check.

    Attributes:
        find: Yields what it finds.

        project: What it checks, for a rule that reads the project's settings or
            tasks; empty if it needs only task-server's own configuration.
    """

    find: Callable[[Context], Iterator[Finding]]
    project: str = ""


#: A new rule is a function in one of the modules, and a row here.
RULES = (
    Rule(broker.eager),
    Rule(broker.broker, "broker"),
    Rule(broker.results, "results"),
    Rule(broker.pickle, "serializers"),
    Rule(broker.connections, "connections"),
    Rule(broker.replaced),
    Rule(routing.queues, "queues"),
    Rule(timeouts.visibility, "visibility timeout"),
    Rule(timeouts.soft_limits, "time limits"),
    Rule(timeouts.drain),
    Rule(delivery.delivery, "delivery"),
    Rule(delivery.transports),
    Rule(delivery.stalls, "prefetch"),
    Rule(delivery.events, "events"),
    Rule(database.databases, "databases"),
    Rule(asyncio.event_loops),
)


def offline(context: Context) -> Iterator[Finding]:
    """
    Return what every rule finds in *context*.

    If the project could not be imported, the rules about it are skipped: they
    would report on defaults instead of its settings.
    """
    for rule in RULES:
        if not (context.import_failed and rule.project):
            yield from _run(rule, context)
    if context.import_failed:
        skipped = ", ".join(rule.project for rule in RULES if rule.project)
        yield Finding(
            "info",
            "not checked",
            f"{skipped}: they depend on the project, which could not be imported",
        )


def _run(rule: Rule, context: Context) -> Iterator[Finding]:
    """Return what *rule* finds, or that a setting has the wrong type."""
    found = []
    try:
        # What it found before the error is reported all the same.
        for finding in rule.find(context):
            found.append(finding)  # noqa: PERF402
    except (TypeError, ValueError, AttributeError, OverflowError, KeyError) as error:
        found.append(
            Finding(
                "warning",
                "not checked",
                f"{rule.project or rule.find.__name__}: a setting of the project has not the type "
                f"that Celery documents ({type(error).__name__}: {str(error)[:200]})",
                "correct its type; it may crash a worker",
            )
        )
    yield from found
