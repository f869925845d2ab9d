"""From what a project's settings name to what we start for it, and what is printed; pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from task_server.local.discovery.protocol import (
    LIBPQ_VARIABLES,
    POSTGRES_VARIABLES,
    REDIS_VARIABLES,
    Answer,
    Database,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlan:
    """
    Which of our servers a project needs.

    Attributes:
        variables: Those that it reads; no other one is set.

        databases: Names of its databases on our PostgreSQL.

        lines: What `up` prints about the other servers.
    """

    redis: bool
    postgres: bool
    variables: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    lines: tuple[str, ...] = field(default=(), compare=False)


def plan_servers(answer: Answer) -> ServerPlan:
    """Return the servers that the project of *answer* reads from our variables, or lacks."""
    taken = {broker.variable for broker in answer.brokers if broker.variable}
    if answer.results is not None and answer.results.variable:
        taken.add(answer.results.variable)
    for database in answer.databases:
        taken.update(database.variables)
    # Every client of libpq reads its variables, so reading them proves nothing.
    taken.update(set(answer.read) - set(LIBPQ_VARIABLES))
    if not answer.brokers:
        # Celery's default, amqp on this machine, is never what a project intends.
        taken.add("CELERY_BROKER_URL")
    return ServerPlan(
        redis=not taken.isdisjoint(REDIS_VARIABLES),
        postgres=not taken.isdisjoint(POSTGRES_VARIABLES),
        variables=tuple(name for name in (*REDIS_VARIABLES, *POSTGRES_VARIABLES) if name in taken),
        databases=tuple(dict.fromkeys(one.name for one in answer.databases if one.variables)),
        lines=tuple(_lines(answer)),
    )


def _lines(answer: Answer) -> Iterable[str]:
    for broker in answer.brokers:
        if not broker.variable:
            yield f"broker: {broker.url}, set by {broker.setting}"
    if not answer.brokers:
        yield "broker: not set by the project; using ours through CELERY_BROKER_URL"
    if answer.results is not None and not answer.results.variable:
        yield f"results: {answer.results.url}, set by {answer.results.setting}"
    for database in answer.databases:
        if not database.variables:
            yield f"database {database.alias}: {database}, set by the project"


def databases_to_migrate(answer: Answer, *, wanted: bool | None) -> tuple[Database, ...]:
    """
    Return the databases whose migrations run.

    Args:
        wanted: True for all in the settings, None for those on our server alone,
            False for none.
    """
    if wanted is False:
        return ()
    return tuple(
        database
        for database in answer.databases
        if not database.same_as and (wanted or database.variables)
    )
