"""
Prefork children keep their database connections from task to task.

Celery's Django fixup closes every connection before and after each task. Here

- PostgreSQL's go to a pool of the child, which makes them as good as new (`persistent`);
- those of other engines are closed when Django would close them after a request, that
  is by CONN_MAX_AGE, and must answer before a task uses them, whether or not
  CONN_HEALTH_CHECKS says so;
- a child that waits for a task closes what nobody has used for a while.

Left as Celery has it: `OPTIONS["pool"]`, Django's own pool of psycopg 3, which the fixup
closes after each task; CELERY_DB_REUSE_MAX; the main process; eager tasks.
"""

import os
import select
from types import ModuleType, SimpleNamespace
from typing import Any

from billiard import pool as billiard_pool
from celery import signals
from celery.fixups import django as celery_fixup

from task_server.worker.database import engine
from task_server.worker.database.aliases import pool_size, postgresql
from task_server.worker.database.persistent import Driver, PersistentConnections
from task_server.worker.patching import patch

fixup: Any = celery_fixup
pool: Any = billiard_pool


class _Process:
    """What a child keeps: nothing before the fork, and nothing in what its tasks fork."""

    def __init__(self) -> None:
        self.connections: PersistentConnections | None = None
        self._pid: int | None = None

    @property
    def is_child(self) -> bool:
        """Whether this process is one of the pool's."""
        return os.getpid() == self._pid

    def start(self, **_: Any) -> None:
        """Keep connections from now on."""
        self._pid = os.getpid()
        if self.connections is not None:
            self.connections.start()

    def stop(self, **_: Any) -> None:
        """Close them: the server would log that they are lost."""
        if self.connections is not None:
            self.connections.close_unused()


def install(max_age: float, max_idle: float) -> None:
    """
    Prepare the main process, before it imports the project and forks.

    Args:
        max_age: Seconds after which a connection is not used again; 0 leaves all to Celery.

        max_idle: Seconds after which an unused connection is closed.
    """
    if not max_age:
        return
    process = _Process()

    def set_up(**_: Any) -> None:
        process.connections = _connect_through_pool(max_age, max_idle)

    _close_in_time(process)
    _follow_conn_max_age(process)
    signals.worker_init.connect(set_up, weak=False)
    signals.worker_process_init.connect(process.start, weak=False)
    signals.worker_process_shutdown.connect(process.stop, weak=False)


def _connect_through_pool(max_age: float, max_idle: float) -> PersistentConnections | None:
    """Let PostgreSQL's aliases connect through the pool; None if there are none to do so."""
    aliases = sum(1 for wrapper in postgresql().values() if not pool_size(wrapper))
    if not aliases:
        return None
    is_psycopg3 = engine.is_psycopg3()
    if not is_psycopg3 and not _has_libpq():
        return None

    def pool_of(real: ModuleType) -> PersistentConnections:
        return PersistentConnections(
            _driver(real, is_psycopg3=is_psycopg3), aliases, max_age, max_idle
        )

    connections = engine.connect_through(pool_of)

    from django.db.backends.signals import connection_created  # noqa: PLC0415 as in `engine`

    connection_created.connect(connections.note_time_zone)
    return connections


def _has_libpq() -> bool:
    from task_server.worker.database.psycopg2 import libpq  # noqa: PLC0415 may be absent

    return libpq.is_available()


def _driver(real: Any, *, is_psycopg3: bool) -> Driver:
    if is_psycopg3:
        from task_server.worker.database.psycopg3.prefork import (  # noqa: PLC0415 may be absent
            PreforkPsycopg3Driver,
        )

        return PreforkPsycopg3Driver(lambda: real.connect)
    from task_server.worker.database.psycopg2.prefork import (  # noqa: PLC0415 may be absent
        PreforkPsycopg2Driver,
    )

    return PreforkPsycopg2Driver(lambda: real.connect)


def _close_in_time(process: _Process) -> None:
    """Close, while a child waits for a task, what has not been used for a while."""
    make_methods = pool.Worker._make_child_methods  # noqa: SLF001

    def make(self: Any, *args: Any, **kwargs: Any) -> None:
        make_methods(self, *args, **kwargs)
        receive = self.wait_for_job
        jobs = select.poll()
        jobs.register(self.inq._reader.fileno(), select.POLLIN)  # noqa: SLF001

        def wait_for_job(*given: Any, **named: Any) -> Any:
            connections = process.connections
            if connections is not None:
                while (seconds := connections.close_unused_in()) is not None:
                    if jobs.poll(1000 * seconds):
                        break
            return receive(*given, **named)

        self.wait_for_job = wait_for_job

    patch(pool.Worker, "_make_child_methods", make)


def _follow_conn_max_age(process: _Process) -> None:
    """Let the fixup leave open, in a child, what Django would leave open after a request."""
    close = fixup.DjangoWorkerFixup.close_database

    def close_database(self: Any, **kwargs: Any) -> None:
        if not process.is_child or self.db_reuse_max:
            close(self, **kwargs)
            return
        found = self._db.connections.all(initialized_only=True)
        close(_Obsolete(self, found), **kwargs)
        for connection in found:
            _leave_atomic(connection)

    patch(fixup.DjangoWorkerFixup, "close_database", close_database)


class _Obsolete:
    """Celery's fixup, which sees only those of the connections *found* that are to be closed."""

    def __init__(self, own: Any, found: list[Any]) -> None:
        self._own = own
        self._found = found
        self._db = SimpleNamespace(connections=self)

    def _close_database(self) -> Any:
        return type(self._own)._close_database(self)  # noqa: SLF001

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def all(self, **_: Any) -> list[Any]:
        """As `django.db.connections.all`."""
        return [connection for connection in self._found if not _stays_open(connection)]


def _stays_open(connection: Any) -> bool:
    """Close *connection* if Django would after a request; return whether Celery must not."""
    # PostgreSQL's go to the pool when they are closed, or to one of the engine's own.
    if connection.vendor == "postgresql" or connection.settings_dict.get("CONN_MAX_AGE", 0) == 0:
        return False
    connection.health_check_enabled = True
    connection.close_if_unusable_or_obsolete()
    return True


def _leave_atomic(connection: Any) -> None:
    """
    Let *connection* open again, which was closed within a transaction that nobody has left.

    Django waits for the end of its `atomic` block, which may be in a generator that no one
    continues: no task of this child could query any more.
    """
    if connection.closed_in_transaction:
        connection.connection = None
        connection.closed_in_transaction = False
