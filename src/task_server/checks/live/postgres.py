"""The running PostgreSQL: reachable through each alias, with connections for all workers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from task_server.checks.connections import postgres_connections
from task_server.checks.facts import Context, listed
from task_server.errors import Finding
from task_server.peers.deadline import run_with_timeout
from task_server.peers.postgres import explain_postgres_error

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_LIMITS = """
SELECT current_setting('server_version'),
       current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true), '0')::int,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
       (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What a PostgreSQL reports about itself.

    Attributes:
        available: Connections for the project: max_connections less those
            reserved, or the limit of its role or database if that is lower.

        why: How *available* was computed.

        pending: Migrations that have not run; None if not checked.

        pool: The size of Django's own pool for the alias; 0 without one.
    """

    version: str
    available: int
    why: str
    pending: tuple[str, ...] | None
    pool: int


def postgres(context: Context, timeout: float) -> Iterator[Finding]:
    """Connect to the PostgreSQL of each alias in DATABASES; Django must be set up."""
    from task_server.worker.database.aliases import postgresql  # noqa: PLC0415 imports Django

    servers: dict[str, dict[str, Answer]] = {}
    for alias, wrapper in postgresql().items():
        settings = wrapper.settings_dict
        # libpq's own variables apply if HOST and PORT are empty.
        server = f"{settings['HOST'] or 'the local socket'}:{settings['PORT'] or 5432}"
        where = f"{server}/{settings['NAME'] or ''}"
        setting = f"DATABASES[{alias!r}]"
        try:
            answer = run_with_timeout(3 * timeout, lambda one=wrapper: _ask(one, timeout))  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001 - any error becomes a finding
            yield explain_postgres_error(setting, where, error)
            continue
        yield Finding("ok", setting, f"PostgreSQL {answer.version} answers at {where}")
        yield from _migrations(setting, answer)
        servers.setdefault(server, {})[alias] = answer
    for server, answers in servers.items():
        yield _capacity(context, server, answers)


def _ask(wrapper: "BaseDatabaseWrapper", timeout: float) -> Answer:
    from task_server.worker.database.aliases import pool_size  # noqa: PLC0415 as above

    # A connection of this thread, closed before the thread ends.
    ours = wrapper.copy()
    options = dict(ours.settings_dict["OPTIONS"])
    options.pop("pool", None)
    ours.settings_dict["OPTIONS"] = {"connect_timeout": max(2, math.ceil(timeout)), **options}
    try:
        with ours.cursor() as cursor:
            cursor.execute(_LIMITS)
            version, maximum, reserved, role, database = cursor.fetchone()
        why = f"max_connections {maximum} less {reserved} reserved"
        available = maximum - reserved
        for limit, name in ((role, "the role"), (database, "the database")):
            if limit is not None and 0 <= limit < available:
                available, why = limit, f"the limit of {name}"
        pending = _pending(ours) if ours.alias == "default" else None
        return Answer(version.split()[0], available, why, pending, pool_size(wrapper))
    finally:
        ours.close()


def _pending(connection: "BaseDatabaseWrapper") -> tuple[str, ...]:
    from django.db.migrations.executor import MigrationExecutor  # noqa: PLC0415 - needs settings

    executor: Any = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return tuple(f"{migration.app_label}.{migration.name}" for migration, _ in plan)


def _migrations(setting: str, answer: Answer) -> Iterator[Finding]:
    if answer.pending is None:
        return
    if answer.pending:
        yield Finding(
            "warning",
            f"{setting} migrations",
            f"{len(answer.pending)} have not run: {listed(answer.pending, 3)}",
            "run `python manage.py migrate`",
        )
    else:
        yield Finding("ok", f"{setting} migrations", "all have run")


def _capacity(context: Context, server: str, answers: dict[str, Answer]) -> Finding:
    """Compare the connections of all workers with those the server has available."""
    needed = 0
    terms = []
    for name, worker in context.workers.items():
        pools = [answer.pool for answer in answers.values()]
        one, count = postgres_connections(worker, pools), context.counts[name]
        needed += one * count
        terms.append(f"{count} x {name} with {one}")
    tightest = min(answers.values(), key=lambda answer: answer.available)
    setting = f"max_connections of {server}"
    message = (
        f"workers open up to {needed} connections ({', '.join(terms)}) of {tightest.available} "
        f"({tightest.why})"
    )
    if needed > tightest.available:
        return Finding(
            "error",
            setting,
            message,
            "lower database_connections or concurrency, run fewer workers, or raise that limit",
        )
    return Finding("ok", setting, message)
