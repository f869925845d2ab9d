"""
PostgreSQL under gevent, for any Django project.

`install` makes Django's PostgreSQL connections wait cooperatively, and bounds
them *exactly*: the server never has more than `database_connections` of them
from this process, all aliases together, with psycopg2 and with psycopg 3.

What holds a connection, and for how long: a task takes one at its first query
and keeps it until `connection.close()`, which Celery calls when the task ends.
It is not taken away earlier, not even between transactions, because a session
has a state (SET, temporary tables, advisory locks, LISTEN, cursors) that no
look at the SQL can rule out, and a task that loses it computes wrong things in
silence. So a task that queries and then waits two seconds for a web server
holds its connection for two seconds, and 20 connections run 20 such tasks at
once. The cure is one line in such a task, `django.db.connection.close()`
before the slow call; the next query gets a connection of the pool again,
mostly without a connect.

How long a task waits for a connection: as long as others give theirs back,
for the turn comes in order of arrival; with none given back for 300 seconds it
gets an OperationalError that says what to do. Two aliases in one task cannot
deadlock (see `green_gate`).

Not counted: connections that the project opens itself, without Django, and
Django's own pool of psycopg 3 (`OPTIONS["pool"]`), which is a bound of its own
and only checked. Not cooperative: the look-up of a host name in psycopg2.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from task_server.errors import ConfigError, Finding, Problem
from task_server.worker.patches import patch

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from task_server.worker.database.pool import Pool

#: Seconds without any connection given back after which a waiting task fails.
WAIT_SECONDS = 300.0

SETTING = "database_connections"


@dataclass(frozen=True, slots=True)
class Installed:
    """
    What `install` did.

    *pool* is None when no alias needed one: no PostgreSQL, or Django's own
    pool for each alias.
    """

    findings: tuple[Finding, ...]
    pool: "Pool | None"


def install(connections: int, *, wait: float = WAIT_SECONDS, reuse: bool = True) -> Installed:
    """
    Make this process ready for tasks that use PostgreSQL in greenlets.

    Call it once, in the worker process, after gevent's monkey-patch (Celery
    does that first of all) and after `django.setup()`, before the first task:
    the signal `worker_init` is the place. Celery swallows exceptions of signal
    handlers, so turn a ConfigError into SystemExit there.

    Args:
        connections: The bound, `database_connections` of the worker.

        wait: Seconds that nobody may give a connection back before those who
            wait fail.

        reuse: Keep closed connections for the next task. Without it each task
            pays for a connect.

    Raises:
        ConfigError: Tasks would block each other, or the bound could not hold.
    """
    problems = _patch_problems()
    if problems:
        raise ConfigError(problems, "the gevent worker")
    wrappers = postgresql()
    if not wrappers:
        return Installed((), None)

    from django.db import connections as handler  # noqa: PLC0415 only in a worker with Django

    from task_server.worker.database import checks as green_checks  # noqa: PLC0415 imports gevent

    problems = [*green_checks.greenlet_local(), *green_checks.driver()]
    bound, too_much = green_checks.share(wrappers, connections)
    problems.extend(too_much)
    if problems:
        raise ConfigError(problems, "the gevent worker")
    # What was opened while Django was set up is not counted; tasks open theirs.
    handler.close_all()
    aliases = sum(
        1 for wrapper in wrappers.values() if not wrapper.settings_dict["OPTIONS"].get("pool")
    )
    pool = _take_over(bound, aliases, wait=wait, reuse=reuse) if aliases else None
    return Installed(tuple(check(connections)), pool)


def check(connections: int) -> list[Finding]:
    """
    Return what is worth knowing of the project's DATABASES, for a gevent worker.

    Needs a Django that is set up; connects to nothing and changes nothing.
    """
    from task_server.worker.database import checks as green_checks  # noqa: PLC0415 imports gevent

    return green_checks.findings(postgresql(), connections)


def contradictions(connections: int) -> list[Problem]:
    """Return why the bound could not hold with the project's DATABASES; as `check` otherwise."""
    from task_server.worker.database import checks as green_checks  # noqa: PLC0415 imports gevent

    return green_checks.share(postgresql(), connections)[1]


def _patch_problems() -> list[Problem]:
    from gevent import monkey  # noqa: PLC0415 only in a gevent worker

    missing = [
        name for name in ("socket", "select", "threading") if not monkey.is_module_patched(name)
    ]
    if not missing:
        return []
    return [
        Problem(
            "pool",
            f"gevent has not patched {', '.join(missing)}, so every query would stop all tasks; "
            "start the worker with `celery ... worker --pool=gevent`, which patches first, or with "
            "`task-server worker`",
        )
    ]


def postgresql() -> "dict[str, BaseDatabaseWrapper]":
    """Return Django's PostgreSQL connections by alias, each unopened."""
    try:
        from django.conf import settings  # noqa: PLC0415 the project may not use Django
        from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415
        from django.db import connections  # noqa: PLC0415
    except ImportError:
        return {}
    if not settings.configured:
        try:
            settings.DATABASES  # noqa: B018 loads the settings, if there are any
        except ImproperlyConfigured:
            return {}
    found = {}
    for alias in connections:
        try:
            wrapper = connections[alias]
        except ImproperlyConfigured:
            continue  # a driver that is absent: Django tells whoever uses the alias
        if wrapper.vendor == "postgresql" or _is_derived(wrapper):
            found[alias] = wrapper
    return found


def _is_derived(wrapper: "BaseDatabaseWrapper") -> bool:
    """Tell whether the engine is a kind of Django's own for PostgreSQL."""
    return any(
        kind.__module__ == "django.db.backends.postgresql.base" for kind in type(wrapper).__mro__
    )


def _take_over(bound: int, aliases: int, *, wait: float, reuse: bool) -> "Pool":
    """
    Let Django's PostgreSQL engine, and all derived from it, connect through a pool.

    Django calls `self.Database.connect(**params)`, with `Database` the driver's
    module (4.2 to 6.0), in the one method that every derived engine calls.
    Replacing that module by one with another `connect` leaves to Django all it
    does before and after, so a connection is configured as ever.
    """
    from django.db.backends.postgresql import base  # noqa: PLC0415
    from django.db.backends.signals import connection_created  # noqa: PLC0415

    from task_server.worker.database.limiter import Gate  # noqa: PLC0415 imports gevent
    from task_server.worker.database.pool import Driver, Pool  # noqa: PLC0415

    engine: Any = base  # the stubs lack what the driver decides
    real: Any = engine.DatabaseWrapper.Database
    driver: Driver
    if engine.is_psycopg3:
        from task_server.worker.database.psycopg3 import Psycopg3  # noqa: PLC0415 may be absent

        driver = Psycopg3(lambda: real.connect)
    else:
        from psycopg2 import extensions  # noqa: PLC0415 may be absent

        from task_server.worker.database import psycopg2 as green_psycopg2  # noqa: PLC0415

        extensions.set_wait_callback(green_psycopg2.wait)
        driver = green_psycopg2.Psycopg2(lambda: real.connect)
    pool = Pool(driver, Gate(bound, aliases, wait), reuse=reuse)
    patch(engine.DatabaseWrapper, "Database", _Driver(real, pool))
    connection_created.connect(pool.note_wrapper, dispatch_uid="task_server.green")
    return pool


class _Driver(ModuleType):
    """The driver's module, as it is, with our `connect`."""

    def __init__(self, real: ModuleType, pool: "Pool") -> None:
        super().__init__(real.__name__, real.__doc__)
        self._real = real
        self._pool = pool

    def connect(self, **params: Any) -> Any:
        """Connect through the pool."""
        return self._pool.connect(params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
