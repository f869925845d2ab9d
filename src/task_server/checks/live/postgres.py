"""PostgreSQL as it runs: reachable through each alias, with connections for all workers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from task_server.checks.connections import postgres_connections
from task_server.checks.facts import Case, listed
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
    What a PostgreSQL says of itself.

    Attributes:
        most: Connections for the project: max_connections less those that are
            reserved, or the limit of its role or database if that is lower.

        why: The arithmetic of *most*.

        pending: Migrations that have not run; None where that was not asked.
    """

    version: str
    most: int
    why: str
    pending: tuple[str, ...] | None


def postgres(case: Case, timeout: float) -> Iterator[Finding]:
    """Ask the PostgreSQL of each alias of DATABASES; Django must be set up."""
    from task_server.worker.database.aliases import postgresql  # noqa: PLC0415

    servers: dict[str, dict[str, Answer]] = {}
    for alias, wrapper in postgresql().items():
        settings = wrapper.settings_dict
        # libpq's own variables say where, if HOST and PORT do not.
        server = f"{settings['HOST'] or 'the local socket'}:{settings['PORT'] or 5432}"
        where = f"{server}/{settings['NAME'] or ''}"
        setting = f"DATABASES[{alias!r}]"
        try:
            answer = run_with_timeout(3 * timeout, lambda one=wrapper: _ask(one, timeout))  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a line
            yield explain_postgres_error(setting, where, error)
            continue
        yield Finding("ok", setting, f"PostgreSQL {answer.version} answers at {where}")
        yield from _migrations(setting, answer)
        servers.setdefault(server, {})[alias] = answer
    for server, answers in servers.items():
        yield _room(case, server, answers)


def _ask(wrapper: "BaseDatabaseWrapper", timeout: float) -> Answer:
    # A connection of this thread alone, closed before it ends.
    ours = wrapper.copy()
    options = dict(ours.settings_dict["OPTIONS"])
    options.pop("pool", None)
    ours.settings_dict["OPTIONS"] = {"connect_timeout": max(2, math.ceil(timeout)), **options}
    try:
        with ours.cursor() as cursor:
            cursor.execute(_LIMITS)
            version, most, reserved, role, database = cursor.fetchone()
        why = f"max_connections {most} less {reserved} reserved"
        most -= reserved
        for limit, name in ((role, "the role"), (database, "the database")):
            if limit is not None and 0 <= limit < most:
                most, why = limit, f"the limit of {name}"
        pending = _pending(ours) if ours.alias == "default" else None
        return Answer(version.split()[0], most, why, pending)
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


def _room(case: Case, server: str, answers: dict[str, Answer]) -> Finding:
    """Compare the connections of all workers with what the server has for them."""
    needed = 0
    terms = []
    for name, profile in case.profiles.items():
        one, count = postgres_connections(profile, len(answers)), case.counts[name]
        needed += one * count
        terms.append(f"{count} x {name} with {one}")
    tightest = min(answers.values(), key=lambda answer: answer.most)
    setting = f"max_connections of {server}"
    told = (
        f"workers open up to {needed} connections ({', '.join(terms)}) of {tightest.most} "
        f"({tightest.why})"
    )
    if needed > tightest.most:
        return Finding(
            "error",
            setting,
            told,
            "lower database_connections or concurrency, run fewer workers, or raise that",
        )
    return Finding("ok", setting, told)
