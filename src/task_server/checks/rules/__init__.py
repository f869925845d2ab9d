"""The rules that need no server, in the order of their lines."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from task_server.checks.facts import Context
from task_server.checks.rules import asyncio, broker, database, delivery, routing, timeouts
from task_server.errors import Finding


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One rule of the check.

    Attributes:
        name: Its name, which `--explain` and a comment take.

        find: Yields what it finds.

        project: What it checks, for a rule that reads the project's settings or
            tasks; empty if it needs only task-server's own configuration.
    """

    name: str
    find: Callable[[Context], Iterator[Finding]]
    project: str = ""


#: A new rule is a function in one of the modules, and a row here.
RULES = (
    Rule("eager-mode", broker.eager),
    Rule("broker-not-redis", broker.broker, "broker"),
    Rule("result-backend", broker.results, "results"),
    Rule("pickle-accepted", broker.pickle, "serializers"),
    Rule("redis-pool-too-small", broker.connections, "connections"),
    Rule("setting-without-effect", broker.replaced),
    Rule("queue-without-worker", routing.queues, "queues"),
    Rule("visibility-timeout-below-limit", timeouts.visibility, "visibility timeout"),
    Rule("soft-limit-under-gevent", timeouts.soft_limits, "time limits"),
    Rule("drain-exceeds-stop-grace", timeouts.drain),
    Rule("delivery-guarantee", delivery.delivery, "delivery"),
    Rule("transport-loses-messages", delivery.transports),
    Rule("prefetch-stalls-gevent", delivery.stalls, "prefetch"),
    Rule("events-always-on", delivery.events, "events"),
    Rule("database-connections", database.databases, "databases"),
    Rule("asyncio-under-gevent", asyncio.event_loops),
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
            rule="project-not-imported",
        )


def _run(rule: Rule, context: Context) -> Iterator[Finding]:
    """Return what *rule* finds, or that a setting has the wrong type."""
    found = []
    try:
        # What it found before the error is reported all the same.
        for finding in rule.find(context):
            found.append(replace(finding, rule=finding.rule or rule.name))  # noqa: PERF401
    except (TypeError, ValueError, AttributeError, OverflowError, KeyError) as error:
        found.append(
            Finding(
                "warning",
                "not checked",
                f"{rule.project or rule.find.__name__}: a setting of the project has not the type "
                f"that Celery documents ({type(error).__name__}: {str(error)[:200]})",
                "correct its type; it may crash a worker",
                rule="setting-of-wrong-type",
            )
        )
    yield from found
