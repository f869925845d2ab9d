"""What the project's DATABASES mean for workers, without connecting to any."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from task_server.checks.facts import Context
from task_server.errors import Finding
from task_server.project.queues import django_settings

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def databases(context: Context) -> Iterator[Finding]:
    """Check DATABASES; Django must be set up."""
    if context.facts is None:
        return
    gevent = {name: worker for name, worker in context.workers.items() if worker.pool_row.green}
    if not gevent and not _keeps_connections():
        return
    # Only a project with such an alias needs anything of the worker.
    from task_server.worker.database.aliases import postgresql  # noqa: PLC0415

    wrappers = postgresql()
    if not gevent:
        yield from connection_age(wrappers)
        return
    found: dict[Finding, None] = {}
    for name, worker in gevent.items():
        limit = worker.database_connections
        try:
            # It imports gevent, which need not be there.
            from task_server.worker.database import checks  # noqa: PLC0415

            _, problems = checks.split_limit(wrappers, limit)
            for problem in problems:
                setting = f"workers.{name}.{problem.setting}"
                found[Finding("error", setting, problem.message)] = None
            found.update(dict.fromkeys(checks.findings(wrappers, limit)))
            # A worker that refuses to start shares no connections.
            if not problems and worker.concurrency > limit and wrappers:
                found[_sharing(name, worker.concurrency, limit)] = None
        except ImportError as error:
            found[
                Finding(
                    "error",
                    f"workers.{name}.pool",
                    f"the gevent pool cannot be imported ({error})",
                    "install gevent",
                )
            ] = None
    yield from found


def _keeps_connections() -> bool:
    """Whether an alias of DATABASES sets CONN_MAX_AGE."""
    settings = django_settings()
    tables = getattr(settings, "DATABASES", None) or {}
    return any(one.get("CONN_MAX_AGE", 0) != 0 for one in tables.values())


def _sharing(name: str, concurrency: int, limit: int) -> Finding:
    return Finding(
        "info",
        f"workers.{name}.database_connections",
        f"{concurrency} concurrent tasks share {limit} connections to PostgreSQL: each keeps one "
        "until it ends, and the others wait; a quarter is reserved for tasks that hold a lock "
        "which others wait for",
        "call django.db.connection.close() in tasks before they wait for something else",
    )


def connection_age(aliases: "Mapping[str, BaseDatabaseWrapper]") -> Iterator[Finding]:
    """Explain CONN_MAX_AGE for prefork workers; under gevent the pool's own check does."""
    for alias, wrapper in aliases.items():
        if wrapper.settings_dict.get("CONN_MAX_AGE", 0) != 0:
            yield Finding(
                "info",
                f"DATABASES[{alias!r}]['CONN_MAX_AGE']",
                "has no effect in a worker: database_max_age says how long a connection is "
                "kept from task to task (0 is not at all, as in Celery)",
            )
