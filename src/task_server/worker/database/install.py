"""
PostgreSQL under gevent, for any Django project.

`install_pool` makes Django's PostgreSQL connections wait cooperatively, and limits
them *exactly*: the server never has more than `database_connections` of them
from this process, all aliases together, with psycopg2 and with psycopg 3.

Who has a connection, and for how long: a task takes one at its first query
and keeps it until `connection.close()`, which Celery calls when the task ends.
It is not taken away earlier, not even between transactions, because a session
has a state (SET, temporary tables, advisory locks, LISTEN, cursors) that no
reading of the SQL can rule out, and a task that loses it silently computes
wrong results. So a task that queries and then waits two seconds for a web
server holds its connection for two seconds, and 20 connections run 20 such
tasks at once. The fix is one line in such a task, `django.db.connection.close()`
before the slow call; the next query gets a connection of the pool again,
mostly without a connect.

How long a task waits for a connection: as long as others return theirs, for
its turn comes in order of arrival; with none returned for 300 seconds it gets
an OperationalError that says what to do. Two aliases in one task cannot
deadlock (see `slots`).

Not counted: connections that the project opens itself, without Django, and
Django's own pool of psycopg 3 (`OPTIONS["pool"]`), which has a limit of its own
and is only checked. Not cooperative: resolving a host name in psycopg2.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from task_server.errors import ConfigError, Finding
from task_server.worker.database import checks, cooperation, engine
from task_server.worker.database.aliases import postgresql
from task_server.worker.database.connection import Driver
from task_server.worker.database.limiter import ConnectionLimiter
from task_server.worker.database.pool import ConnectionPool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

#: Seconds without any connection returned after which a waiting task fails.
POOL_TIMEOUT = 300.0

#: Seconds for which a connection is kept, and unused, in a worker without settings.
MAX_AGE, MAX_IDLE = 1800.0, 60.0


@dataclass(frozen=True, slots=True)
class Installed:
    """
    What `install_pool` did.

    *pool* is None when no alias needed one: no PostgreSQL, or Django's own
    pool for each alias.
    """

    findings: tuple[Finding, ...]
    pool: ConnectionPool | None


def install_pool(
    connections: int,
    *,
    timeout: float = POOL_TIMEOUT,
    max_age: float = MAX_AGE,
    max_idle: float = MAX_IDLE,
) -> Installed:
    """
    Make this process ready for tasks that use PostgreSQL in greenlets.

    Call it once, in the worker process, after gevent's monkey-patch (Celery
    does that first of all) and after `django.setup()`, before the first task:
    the signal `worker_init` is the place. Celery swallows exceptions of signal
    handlers, so turn a ConfigError into SystemExit there.

    Args:
        connections: The limit, `database_connections` of the worker.

        timeout: Seconds without any connection returned after which tasks that
            wait for one fail.

        max_age: Seconds for which closed connections are kept for the next task;
            with 0 each task pays for a connect.

        max_idle: Seconds for which an unused connection is kept.

    Raises:
        ConfigError: Tasks would block each other, or the limit could be exceeded.
    """
    problems = cooperation.unpatched()
    if problems:
        raise ConfigError(problems, "the gevent worker")
    wrappers = postgresql()
    if not wrappers:
        return Installed((), None)

    from django.db import connections as handler  # noqa: PLC0415 only in a worker with Django

    problems = [*cooperation.shared_connections(), *cooperation.blocking_driver()]
    limit, too_few = checks.split_limit(wrappers, connections)
    problems.extend(too_few)
    if problems:
        raise ConfigError(problems, "the gevent worker")
    # What was opened while Django was set up is not counted; tasks open theirs.
    handler.close_all()
    pool = _pool(wrappers, limit, timeout, (max_age, max_idle))
    return Installed(tuple(checks.findings(wrappers, connections)), pool)


def _pool(
    wrappers: "Mapping[str, BaseDatabaseWrapper]",
    limit: int,
    timeout: float,
    kept: tuple[float, float],
) -> ConnectionPool | None:
    """
    Let Django's PostgreSQL engine, and all derived from it, connect through a pool.

    Returns:
        The pool; None if each alias has one of Django's own.
    """
    aliases = sum(
        1 for wrapper in wrappers.values() if not wrapper.settings_dict["OPTIONS"].get("pool")
    )
    if not aliases:
        return None

    from django.db.backends.signals import connection_created  # noqa: PLC0415 as above

    def pool_of(real: ModuleType) -> ConnectionPool:
        driver = _driver(real, is_psycopg3=engine.is_psycopg3())
        return ConnectionPool(driver, ConnectionLimiter(limit, aliases, timeout), *kept)

    pool = engine.connect_through(pool_of)
    connection_created.connect(pool.note_wrapper, dispatch_uid="task_server.worker.database")
    return pool


def _driver(real: Any, *, is_psycopg3: bool) -> Driver:
    """Return what the pool needs to know of the driver whose module is *real*."""
    if is_psycopg3:
        from task_server.worker.database.psycopg3.green import (  # noqa: PLC0415 may be absent
            GreenPsycopg3Driver,
        )

        return GreenPsycopg3Driver(lambda: real.connect)

    from psycopg2 import extensions  # noqa: PLC0415 may be absent

    from task_server.worker.database.psycopg2.green import GreenPsycopg2Driver  # noqa: PLC0415
    from task_server.worker.database.psycopg2.wait import wait  # noqa: PLC0415

    extensions.set_wait_callback(wait)
    return GreenPsycopg2Driver(lambda: real.connect)
