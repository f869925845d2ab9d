"""
What must be true, and what is worth knowing, before tasks use PostgreSQL in greenlets.
"""

import inspect
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent
from gevent import monkey, socket

from task_server.errors import Finding, Problem
from task_server.worker.database import deadlocks as green_jam
from task_server.worker.database.install import SETTING

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

#: Seconds after which a driver that does not let others run is set free.
PATIENCE = 2.0

#: Packages whose handlers of the log do not write to the project's database.
WELL_KNOWN_LOGS = ("logging", "django", "celery", "sentry_sdk", "rich", "builtins")

#: What code looks like that asks the database.
QUERIES = re.compile(r"\.objects\b|\.save\(|bulk_create|\bcursor\(|django\.db\b")

#: Engines with a pool of their own, by a part of their module's name.
FOREIGN_POOLS = ("geventpool", "django_postgrespool", "dj_db_conn_pool")


def greenlet_local() -> list[Problem]:
    """Tell whether each greenlet gets connections of its own from Django."""
    from django.db import connections  # noqa: PLC0415 only in a worker with Django

    alias = next(iter(connections))
    if connections[alias] is not gevent.spawn(lambda: connections[alias]).get():
        return []
    return [
        Problem(
            "pool",
            "django.db was imported before gevent's monkey-patch, so that all tasks would share "
            "one connection; import nothing of Django before Celery starts the worker",
        )
    ]


def driver() -> list[Problem]:
    """Tell whether the driver Django uses lets other greenlets run while it waits."""
    from django.db.backends.postgresql import base  # noqa: PLC0415

    engine: Any = base  # the stubs lack what the driver decides
    if not engine.is_psycopg3:
        from psycopg2 import extensions  # noqa: PLC0415 may be absent

        if hasattr(extensions, "set_wait_callback"):
            return []
        return [
            Problem(
                "psycopg2",
                "this build knows no wait callbacks, so every query would stop all tasks; "
                "install psycopg2 or psycopg2-binary 2.8.4 or later",
            )
        ]
    # It may be absent, for mypy too.
    from psycopg import waiting  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    if _lets_others_run(waiting.wait, waiting.Wait.R):
        return []
    return [
        Problem(
            "psycopg",
            "it waits in C, so every query would stop all tasks: it was imported before gevent's "
            "monkey-patch, or PSYCOPG_WAIT_FUNC chooses another wait; import nothing of psycopg "
            "before Celery starts the worker, and unset that variable",
        )
    ]


def _lets_others_run(wait: Any, readable: Any) -> bool:
    """
    Try *wait* of psycopg 3 on a socket that another greenlet has to write to.

    A thread of the system sets a blocked wait free, since no greenlet can.
    """
    ours, theirs = socket.socketpair()
    spare = os.dup(theirs.fileno())
    over = monkey.get_original("_thread", "allocate_lock")()
    over.acquire()
    done = []

    def greenlet() -> None:
        done.append(True)
        theirs.send(b"x")

    def rescue() -> None:
        over.acquire(timeout=PATIENCE)
        with suppress(OSError):
            os.write(spare, b"x")
        os.close(spare)

    def steps() -> Any:
        while not (yield readable):
            pass

    writer = gevent.spawn(greenlet)
    monkey.get_original("_thread", "start_new_thread")(rescue, ())
    try:
        wait(steps(), ours.fileno(), 0.1)
        return bool(done)
    finally:
        over.release()
        writer.kill()
        ours.close()
        theirs.close()


def share(
    wrappers: "Mapping[str, BaseDatabaseWrapper]", connections: int
) -> tuple[int, list[Problem]]:
    """
    Divide *connections* between Django's own pools and ours.

    Returns:
        What is left for the aliases without a pool (0 if there are none), and
        the reasons why the bound could not hold.
    """
    pools = {alias: size for alias, wrapper in wrappers.items() if (size := _pool_size(wrapper))}
    others = len(wrappers) - len(pools)
    left = connections - sum(pools.values())
    if left >= others:
        return (left if others else 0), []
    if not pools:
        message = (
            f"{connections} is less than the {others} PostgreSQL aliases of DATABASES, which one "
            f"task may use together; set it to {others} or more"
        )
        return 0, [Problem(SETTING, message)]
    sizes = " + ".join(
        f"{size} of DATABASES[{alias!r}]['OPTIONS']['pool']" for alias, size in pools.items()
    )
    needed = sum(pools.values()) + others
    message = (
        f"{connections} is less than {needed}: {sizes}"
        + (f" + {others} for the aliases without a pool" if others else "")
        + f"; lower max_size of the pool, or set {SETTING} to {needed} or more"
    )
    return 0, [Problem(SETTING, message)]


def findings(wrappers: "Mapping[str, BaseDatabaseWrapper]", connections: int) -> list[Finding]:
    """Return what the operator should know of *wrappers*, Django's connections by alias."""
    found: list[Finding] = []
    for alias, wrapper in wrappers.items():
        where = f"DATABASES[{alias!r}]"
        settings = wrapper.settings_dict
        if settings.get("CONN_MAX_AGE", 0) != 0:
            found.append(
                Finding(
                    "info",
                    f"{where}['CONN_MAX_AGE']",
                    "buys nothing in a worker: Celery closes the connection before and after each "
                    "task, and this worker keeps closed connections for the next one anyway",
                )
            )
        size = _pool_size(wrapper)
        if size:
            seconds = float(_pool_options(wrapper).get("timeout", 30.0))
            found.append(
                Finding(
                    "warning",
                    f"{where}['OPTIONS']['pool']",
                    f"Django's own pool has {size} connections, of which a task that waits longer "
                    f"than {seconds:g} seconds gets none and fails (PoolTimeout); without the "
                    f"option the worker shares {connections} between all tasks in turn",
                )
            )
        engine = settings["ENGINE"]
        if any(name in engine for name in FOREIGN_POOLS) or not _uses_our_connect(wrapper):
            found.append(
                Finding(
                    "warning",
                    f"{where}['ENGINE']",
                    f"{engine} opens connections by itself, which {SETTING} does not bound; "
                    "use django.db.backends.postgresql (or postgis), which needs no pool here",
                )
            )
    found.extend(_logs_in_database() if wrappers else ())
    return found


def _logs_in_database() -> Iterator[Finding]:
    """Name the handlers of the log that seem to write to the database, with their lock held."""
    for kind in {type(handler) for handler in green_jam.log_handlers()}:
        if kind.__module__.partition(".")[0] in WELL_KNOWN_LOGS or "emit" not in vars(kind):
            continue
        try:
            source = inspect.getsource(kind)
        except (OSError, TypeError):
            continue
        if QUERIES.search(source):
            yield Finding(
                "info",
                "LOGGING",
                f"the handler {kind.__module__}.{kind.__qualname__} seems to write to the "
                "database, while it holds the lock that each task wants which logs: the tasks "
                "go one by one there; a QueueHandler before it takes the wait out of them",
            )


def _pool_options(wrapper: "BaseDatabaseWrapper") -> Mapping[str, Any]:
    options = wrapper.settings_dict["OPTIONS"].get("pool")
    return options if isinstance(options, Mapping) else {}


def _pool_size(wrapper: "BaseDatabaseWrapper") -> int:
    """Return the most connections of Django's own pool for this alias; 0 without one."""
    if not wrapper.settings_dict["OPTIONS"].get("pool"):
        return 0
    options = _pool_options(wrapper)
    # psycopg_pool: four unless told, and as many as the least unless told.
    least = int(options.get("min_size", 4))
    most = options.get("max_size")
    return least if most is None else int(most)


def _uses_our_connect(wrapper: "BaseDatabaseWrapper") -> bool:
    """Tell whether Django's own engine, which we change, is the one that says `Database`."""
    for kind in type(wrapper).__mro__:
        if "Database" in vars(kind):
            return kind.__module__ == "django.db.backends.postgresql.base"
    return False
