"""What the process that finds a project's servers is given, and what it answers, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

#: Our variables, by the server that they lead to.
REDIS_VARIABLES = ("REDIS_URL", "REDIS_CLIENT_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")
LIBPQ_VARIABLES = ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE")
POSTGRES_VARIABLES = ("DATABASE_URL", *LIBPQ_VARIABLES)

#: The number of Redis's database that identifies each variable during discovery.
REDIS_DATABASES: Mapping[str, int] = {
    "REDIS_URL": 0,
    "CELERY_BROKER_URL": 1,
    "CELERY_RESULT_BACKEND": 2,
}

#: PGDATABASE during discovery: a project's own database may have the name that ours
#: will have, but not this one.
PLACEHOLDER_DATABASE = "task_server_asks"

#: What the databases of an engine are called.
ENGINES: Mapping[str, str] = {
    "postgresql": "PostgreSQL",
    "postgis": "PostgreSQL",
    "sqlite3": "SQLite",
    "spatialite": "SQLite",
    "mysql": "MySQL",
    "oracle": "Oracle",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """
    Which project, and what is in its environment during discovery.

    Attributes:
        seconds: How long its import may take.

        ours: The variables that we have set, each to a server that need not run yet.

        redis_socket: Path of our Redis's socket.

        redis_url: REDIS_URL as the user has set it, or "".

        postgres_sockets: Folder of our PostgreSQL's socket.

        database: Name of the database that the project gets on our PostgreSQL.
    """

    app: str
    seconds: float
    ours: tuple[str, ...]
    redis_socket: str
    redis_url: str
    postgres_sockets: str
    database: str

    def to_json(self) -> str:
        """Return it as one JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the question that `to_json` made."""
        fields = json.loads(text)
        return cls(**{**fields, "ours": tuple(fields["ours"])})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    A broker or result backend.

    *url* is without its password, *setting* the setting that holds it, *variable* the
    one of ours that it was read from, or "".
    """

    url: str
    setting: str
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Database:
    """
    One alias of DATABASES.

    *where* is for people (``production at 127.0.0.1:5432``), *variables* are those of
    ours that it was read from; *same_as* is the alias that it mirrors or repeats, or "".
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
class Unusable:
    """A server in the settings that cannot be used; *peer* is whether it did not answer."""

    setting: str
    text: str
    peer: bool

    def __str__(self) -> str:
        return f"{self.setting}: {self.text}"

    @classmethod
    def because(cls, setting: str, server: str, error: Exception, repair: str = "") -> Self:
        """Return that *server* did not answer, with the first line of *error*."""
        lines = str(error).strip().splitlines()
        text = f"{server} cannot be used: {type(error).__name__}: {lines[0] if lines else '-'}"
        return cls(setting, f"{text}; {repair}" if repair else text, peer=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    What a project's settings name.

    Attributes:
        django: Whether it is a Django project.

        brokers: Where it sends tasks and takes them from: none, one, or two.

        read: The variables of ours that its code reads one by one.

        unusable: The servers in its settings that were tried in vain.

        dotenv: Whether it has python-dotenv, where the environment takes precedence
            over a file .env.

        preset: Those of our variables that are set without us, in such a file for example.

        features: What it has that a service exists for (`only_with` in services.toml).

        code: The folders, and single files, of the packages that its import loaded and that
            nobody installed: those that somebody may be at work on.

        media: The folder of uploaded files, or "".
    """

    django: bool = False
    brokers: tuple[Endpoint, ...] = ()
    results: Endpoint | None = None
    databases: tuple[Database, ...] = ()
    read: tuple[str, ...] = ()
    unusable: tuple[Unusable, ...] = ()
    dotenv: bool = False
    preset: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    media: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it in the types of JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the answer that `to_dict` made."""
        results = fields["results"]
        return cls(
            django=fields["django"],
            brokers=tuple(Endpoint(**one) for one in fields["brokers"]),
            results=Endpoint(**results) if results else None,
            databases=tuple(
                Database(**{**one, "variables": tuple(one["variables"])})
                for one in fields["databases"]
            ),
            read=tuple(fields["read"]),
            unusable=tuple(Unusable(**one) for one in fields["unusable"]),
            dotenv=fields["dotenv"],
            preset=tuple(fields["preset"]),
            features=tuple(fields["features"]),
            code=tuple(fields["code"]),
            media=fields["media"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """
    Why the project could not be imported, with the exit code.

    *read* are the variables of ours that it had read by then, *preset* those that were
    set without us.
    """

    error: str
    code: int
    read: tuple[str, ...]
    preset: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it in the types of JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the failure that `to_dict` made."""
        return cls(
            error=fields["error"],
            code=fields["code"],
            read=tuple(fields["read"]),
            preset=tuple(fields["preset"]),
        )


def preset(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return which of our variables *environ* has."""
    return tuple(name for name in (*REDIS_VARIABLES, *POSTGRES_VARIABLES) if name in environ)
