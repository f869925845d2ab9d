"""
What a project names of its servers -> which of ours it needs, and what is said; pure.

The answer comes from `task_server.local.discovery.project`, which asks the project in a process
of its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

#: Our variables, by the server that they lead to.
REDIS_VARIABLES = ("REDIS_URL", "REDIS_CLIENT_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")
POSTGRES_VARIABLES = ("DATABASE_URL", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE")

#: Read by everybody who uses libpq, so that what is read does not tell whether it is taken.
LIBPQ_VARIABLES = frozenset(POSTGRES_VARIABLES) - {"DATABASE_URL"}

#: Any of these says where PostgreSQL is, so that none of ours is meant.
POSTGRES_GIVEN = ("DATABASE_URL", "PGHOST", "PGSERVICE")

#: What the databases of an engine are called.
ENGINES: Mapping[str, str] = {
    "postgresql": "PostgreSQL",
    "postgis": "PostgreSQL",
    "sqlite3": "SQLite",
    "spatialite": "SQLite",
    "mysql": "MySQL",
    "oracle": "Oracle",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """
    A broker or result backend.

    *url* is without its password, *setting* who names it, *variable* the one
    of ours that it is taken from, or "".
    """

    url: str
    setting: str
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Database:
    """
    One alias of DATABASES.

    *where* is for people (``production at 127.0.0.1:5432``), *variables* are those of
    ours that it is taken from; *same_as* names the alias that it is a mirror or a
    second name of, or is "".
    """

    alias: str
    engine: str
    name: str
    where: str
    variables: tuple[str, ...] = ()
    same_as: str = ""

    def __str__(self) -> str:
        kind = self.engine.rpartition(".")[2]
        return f"{ENGINES.get(kind, kind)} {self.where}"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A server that is named and cannot be used; *peer* tells whether it did not answer."""

    setting: str
    text: str
    peer: bool

    def __str__(self) -> str:
        return f"{self.setting}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    What a project names.

    Attributes:
        django: Whether it is a Django project.

        brokers: What it sends to and takes from: nothing, one, or two.

        read: The variables of ours that its code reads, each for itself.

        troubles: Of what it names itself.

        dotenv: Whether it has python-dotenv, which lets the environment win over
            a file .env.

        given: Our variables that are set without us, by that file for example.
    """

    django: bool = False
    brokers: tuple[Peer, ...] = ()
    results: Peer | None = None
    databases: tuple[Database, ...] = ()
    read: tuple[str, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    dotenv: bool = False
    given: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return it as what JSON knows."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """Return the answer that `plain` made."""
        results = plain["results"]
        return cls(
            django=plain["django"],
            brokers=tuple(Peer(**one) for one in plain["brokers"]),
            results=Peer(**results) if results else None,
            databases=tuple(
                Database(**{**one, "variables": tuple(one["variables"])})
                for one in plain["databases"]
            ),
            read=tuple(plain["read"]),
            troubles=tuple(Trouble(**one) for one in plain["troubles"]),
            dotenv=plain["dotenv"],
            given=tuple(plain["given"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """
    What of ours a project needs.

    Attributes:
        variables: Those that it takes; no other one is set.

        databases: Names of databases on our PostgreSQL.

        lines: What is said of it.
    """

    redis: bool
    postgres: bool
    variables: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    lines: tuple[str, ...] = field(default=(), compare=False)


def needs_of(answer: Answer) -> Needs:
    """Return what the project of *answer* takes from us, or names nowhere."""
    taken = {peer.variable for peer in answer.brokers if peer.variable}
    if answer.results is not None and answer.results.variable:
        taken.add(answer.results.variable)
    for database in answer.databases:
        taken.update(database.variables)
    taken.update(set(answer.read) - LIBPQ_VARIABLES)
    if not answer.brokers:
        # Celery's own default, amqp, is meant by nobody.
        taken.add("CELERY_BROKER_URL")
    return Needs(
        redis=not taken.isdisjoint(REDIS_VARIABLES),
        postgres=not taken.isdisjoint(POSTGRES_VARIABLES),
        variables=tuple(name for name in (*REDIS_VARIABLES, *POSTGRES_VARIABLES) if name in taken),
        databases=tuple(dict.fromkeys(one.name for one in answer.databases if one.variables)),
        lines=tuple(_lines(answer)),
    )


def _lines(answer: Answer) -> Iterable[str]:
    """Tell what the project names itself, and what nobody does."""
    for peer in answer.brokers:
        if not peer.variable:
            yield f"broker: {peer.url}, named by {peer.setting}"
    if not answer.brokers:
        yield "broker: the project names none; ours, by CELERY_BROKER_URL"
    if answer.results is not None and not answer.results.variable:
        yield f"results: {answer.results.url}, named by {answer.results.setting}"
    for database in answer.databases:
        if not database.variables:
            yield f"database {database.alias}: {database}, named by the project"


def to_migrate(answer: Answer, *, wanted: bool | None) -> tuple[Database, ...]:
    """
    Return the databases whose migrations run.

    Args:
        wanted: True is all that the project names, None only those on a server
            of ours, False none.
    """
    if wanted is False:
        return ()
    return tuple(
        database
        for database in answer.databases
        if not database.same_as and (wanted or database.variables)
    )
