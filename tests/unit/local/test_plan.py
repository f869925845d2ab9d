"""Which servers of ours a project needs, from what it names."""

import json

import pytest

from task_server.local.discovery.plan import (
    Answer,
    Database,
    Needs,
    Peer,
    Trouble,
    needs_of,
    to_migrate,
)

OURS = ("DATABASE_URL",)


def database(alias: str, name: str = "cl", **fields: object) -> Database:
    given = {"engine": "django.db.backends.postgresql", "where": f"{name} at db", **fields}
    return Database(alias=alias, name=name, **given)  # type: ignore[arg-type]


def named(url: str = "redis://db:6379/0", variable: str = "") -> Peer:
    return Peer(url, "CELERY_BROKER_URL", variable)


def test_a_project_that_names_all_needs_nothing_and_is_told() -> None:
    """
    No server is started beside those of its settings, and no variable is set.
    """
    answer = Answer(
        django=True,
        brokers=(named(),),
        results=named("redis://db:6379/1"),
        databases=(database("default"),),
    )

    needs = needs_of(answer)

    assert Needs(redis=False, postgres=False) == needs
    assert (
        "broker: redis://db:6379/0, named by CELERY_BROKER_URL",
        "results: redis://db:6379/1, named by CELERY_BROKER_URL",
        "database default: PostgreSQL cl at db, named by the project",
    ) == needs.lines


def test_a_broker_that_nobody_names_is_ours() -> None:
    """
    Celery's default, amqp on this machine, is meant by nobody; no PostgreSQL is started.
    """
    needs = needs_of(Answer())

    assert (True, False, ("CELERY_BROKER_URL",)) == (needs.redis, needs.postgres, needs.variables)


@pytest.mark.parametrize("variable", ["REDIS_URL", "CELERY_BROKER_URL"])
def test_the_variable_that_it_is_taken_from_is_set_and_no_other(variable: str) -> None:
    """
    What is printed for the web process is what it needs.
    """
    needs = needs_of(Answer(brokers=(named(variable=variable),)))

    assert (True, (variable,)) == (needs.redis, needs.variables)


def test_a_broker_elsewhere_and_results_of_ours_are_both_kept() -> None:
    """
    The broker is not replaced because the results are taken from us.
    """
    answer = Answer(brokers=(named(),), results=named("redis+socket:///x", "REDIS_URL"))

    assert ("REDIS_URL",) == needs_of(answer).variables


def test_what_is_read_without_being_a_broker_is_ours_too() -> None:
    """
    A cache or a lock in Redis, an engine of SQLAlchemy; libpq's variables are read by everybody.
    """
    answer = Answer(brokers=(named(),), read=("DATABASE_URL", "PGHOST", "REDIS_URL"))

    needs = needs_of(answer)

    assert (True, True, ("REDIS_URL", "DATABASE_URL")) == (
        needs.redis,
        needs.postgres,
        needs.variables,
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

    assert ("cl", "logs") == needs_of(answer).databases


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

    assert aliases == [one.alias for one in to_migrate(answer, wanted=wanted)]


def test_an_answer_survives_its_journey() -> None:
    """
    What the child writes as JSON is what the parent reads.
    """
    answer = Answer(
        django=True,
        brokers=(named(),),
        results=named(variable="REDIS_URL"),
        databases=(database("default", variables=OURS),),
        read=("REDIS_URL",),
        troubles=(Trouble("broker", "nothing listens", peer=True),),
    )

    assert answer == Answer.of(json.loads(json.dumps(answer.plain())))
