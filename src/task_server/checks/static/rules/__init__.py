"""The rules that read the source alone. One rule a function; one subject a file."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from task_server.checks.static.findings import At
from task_server.checks.static.names import Project
from task_server.checks.static.rules import loading, retries, routes, schedule, sending

#: By name. A new rule is a function, a row here, and a page.
RULES: Mapping[str, Callable[[Project], Iterator[At]]] = MappingProxyType(
    {
        "delay-inside-transaction": sending.inside_transaction,
        "result-get-inside-task": sending.waiting,
        "beat-unknown-task": schedule.unknown,
        "beat-period-below-time-limit": schedule.short,
        "route-matches-nothing": routes.unused,
        "task-module-not-imported": loading.not_imported,
        "retry-without-end": retries.endless,
        "retry-without-backoff": retries.steady,
        "soft-limit-above-time-limit": retries.limits,
    }
)
