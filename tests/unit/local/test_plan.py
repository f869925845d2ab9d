"""Which of our servers a project gets, from what its settings name."""

import json

import pytest

from task_server.local.discovery.plan import ServerPlan, databases_to_migrate, plan_servers
from task_server.local.discovery.protocol import Answer, Database, Endpoint, Unusable

OURS = ("DATABASE_URL",)


def database(alias: str, name: str = "cl", **fields: object) -> Database:
    given = {"engine": "django.db.backends.postgresql", "where": f"{name} at db", **fields}
    return Database(alias=alias, name=name, **given)  # type: ignore[arg-type]


def endpoint(url: str = "redis://db:6379/0", variable: str = "") -> Endpoint:
    return Endpoint(url, "CELERY_BROKER_URL", variable)


def test_a_project_that_names_all_its_servers_gets_none_of_ours() -> None:
    """
    No server is started beside those of its settings, and no variable is set.
    """
    answer = Answer(
        django=True,
        brokers=(endpoint(),),
        results=endpoint("redis://db:6379/1"),
        databases=(database("default"),),
    )

    plan = plan_servers(answer)

    assert ServerPlan(redis=False, postgres=False) == plan
    assert (
        "broker: redis://db:6379/0, set by CELERY_BROKER_URL",
        "results: redis://db:6379/1, set by CELERY_BROKER_URL",
        "database default: PostgreSQL cl at db, set by the project",
    ) == plan.lines


def test_a_project_without_a_broker_gets_ours() -> None:
    """
    Celery's default, amqp on this machine, is not used; no PostgreSQL is started.
    """
    plan = plan_servers(Answer())

    assert (True, False, ("CELERY_BROKER_URL",)) == (plan.redis, plan.postgres, plan.variables)


@pytest.mark.parametrize("variable", ["REDIS_URL", "CELERY_BROKER_URL"])
def test_the_variable_that_it_is_taken_from_is_set_and_no_other(variable: str) -> None:
    """
    What is printed for the web process is what it plan.
    """
    plan = plan_servers(Answer(brokers=(endpoint(variable=variable),)))

    assert (True, (variable,)) == (plan.redis, plan.variables)


def test_a_broker_elsewhere_and_results_of_ours_are_both_kept() -> None:
    """
    The broker is not replaced because the results are taken from us.
    """
    answer = Answer(brokers=(endpoint(),), results=endpoint("redis+socket:///x", "REDIS_URL"))

    assert ("REDIS_URL",) == plan_servers(answer).variables


def test_what_is_read_without_being_a_broker_is_ours_too() -> None:
    """
    A cache or a lock in Redis, an engine of SQLAlchemy; every client of libpq reads its variables.
    """
    answer = Answer(brokers=(endpoint(),), read=("DATABASE_URL", "PGHOST", "REDIS_URL"))

    plan = plan_servers(answer)

    assert (True, True, ("REDIS_URL", "DATABASE_URL")) == (
        plan.redis,
        plan.postgres,
        plan.variables,
    )


def test_databases_of_ours_are_made_each_once() -> None:
    """
    Two aliases of one name are one database.
    """
    answer = Answer(
        databases=(
            database("default", variables=OURS),
            database("replica", variables=OURS, same_as="default"),
            database("logs", "logs", variables=OURS),
            database("old", "old"),
        )
    )

    assert ("cl", "logs") == plan_servers(answer).databases


@pytest.mark.parametrize(
    ("wanted", "aliases"),
    [(None, ["default"]), (True, ["default", "production"]), (False, [])],
)
def test_only_what_was_started_here_is_migrated_unless_asked(
    wanted: bool | None,  # noqa: FBT001
    aliases: list[str],
) -> None:
    """
    A mirror is never migrated; --no-migrate is none.
    """
    answer = Answer(
        databases=(
            database("default", variables=OURS),
            database("replica", same_as="default"),
            database("production", "production"),
        )
    )

    assert aliases == [one.alias for one in databases_to_migrate(answer, wanted=wanted)]


def test_an_answer_survives_json() -> None:
    """
    What the child writes as JSON is what the parent reads.
    """
    answer = Answer(
        django=True,
        brokers=(endpoint(),),
        results=endpoint(variable="REDIS_URL"),
        databases=(database("default", variables=OURS),),
        read=("REDIS_URL",),
        unusable=(Unusable("broker", "nothing listens", peer=True),),
    )

    assert answer == Answer.from_dict(json.loads(json.dumps(answer.to_dict())))
