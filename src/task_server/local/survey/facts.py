"""What was found out about a project; plain data, and JSON between the two processes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Queue:
    """
    A queue of the project.

    *by* is what names it: a setting, a task, or a file with its line.
    """

    name: str
    by: str


@dataclass(frozen=True, slots=True)
class Server:
    """
    A broker, result backend or database that the settings name.

    Attributes:
        role: broker, results, or database and its alias.

        kind: What answers there: redis, PostgreSQL, SQLite.

        url: Where, without a password; empty if a variable says it that is not set here.

        setting: The setting that holds it.

        variables: What the settings read its address from.
    """

    role: str
    kind: str
    url: str
    setting: str
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Beat:
    """
    The project's schedule: so many *entries* in its settings, and the *scheduler* it names.

    *setting* is where the entries stand.
    """

    entries: int = 0
    setting: str = ""
    scheduler: str = ""

    @property
    def in_database(self) -> bool:
        """Whether django-celery-beat keeps the schedule."""
        return "django_celery_beat" in self.scheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """
    What the settings and the code of a project name.

    Attributes:
        queues: Those that tasks are sent to; *perhaps* are names that may be queues.

        pool: The project's own `worker_pool`; empty if it sets none.

        media: MEDIA_ROOT, and *storage* the class of the default storage; empty without.

        tasks: How many tasks it registers; None if it was not imported.

        settings: DJANGO_SETTINGS_MODULE as its import leaves it.
    """

    queues: tuple[Queue, ...] = ()
    perhaps: tuple[Queue, ...] = ()
    servers: tuple[Server, ...] = ()
    beat: Beat = Beat()
    pool: str = ""
    media: str = ""
    storage: str = ""
    tasks: int | None = None
    settings: str = ""

    @property
    def keeps_files(self) -> bool:
        """Whether its settings say where files are kept."""
        return bool(self.media) or bool(self.storage and "FileSystem" not in self.storage)

    def to_json(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the project that `to_json` made."""
        servers = [{**one, "variables": tuple(one["variables"])} for one in fields["servers"]]
        return cls(
            **{
                **fields,
                "queues": tuple(Queue(**one) for one in fields["queues"]),
                "perhaps": tuple(Queue(**one) for one in fields["perhaps"]),
                "servers": tuple(Server(**one) for one in servers),
                "beat": Beat(**fields["beat"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Manager:
    """
    What manages the project's requirements.

    *file* says so, *add* is the command that adds one.
    """

    name: str
    file: str
    add: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """
    A project, and where it lies.

    Attributes:
        app: Its Celery app, as `celery --app` takes it, and *how* it was found.

        code: The folder to put on PYTHONPATH, relative to the one of the file; empty
            for that one.

        settings_module: DJANGO_SETTINGS_MODULE where the app's own file sets none, and
            *settings_how*, why.

        setup: A function that the project needs called before its app can be imported.

        notes: What a person should know of this kind of project, a line each.

        failure: Why the project could not be imported; empty if it was.

        installed: Which extras of task-server are installed.
    """

    app: str
    how: str
    code: str = ""
    settings_module: str = ""
    settings_how: str = ""
    setup: str = ""
    notes: tuple[str, ...] = ()
    manager: Manager | None = None
    project: Project = Project()
    failure: str = ""
    installed: frozenset[str] = frozenset()
