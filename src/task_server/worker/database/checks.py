"""Checks DATABASES for a gevent worker, without connecting."""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from task_server.errors import Finding, Problem
from task_server.worker.database.aliases import SETTING, pool_options, pool_size
from task_server.worker.database.deadlocks import log_handlers

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

#: Packages whose handlers of the log do not write to the project's database.
WELL_KNOWN_LOGS = ("logging", "django", "celery", "sentry_sdk", "rich", "builtins")

#: What code that queries the database contains.
QUERIES = re.compile(r"\.objects\b|\.save\(|bulk_create|\bcursor\(|django\.db\b")

#: Engines with a pool of their own, by a part of their module's name.
FOREIGN_POOLS = ("geventpool", "django_postgrespool", "dj_db_conn_pool")


def split_limit(
    wrappers: "Mapping[str, BaseDatabaseWrapper]", connections: int
) -> tuple[int, list[Problem]]:
    """
    Split *connections* between Django's own pools and ours.

    Returns:
        What is left for the aliases without a pool (0 if there are none), and
        the reasons why the limit could be exceeded.
    """
    pools = {alias: size for alias, wrapper in wrappers.items() if (size := pool_size(wrapper))}
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
    """Return what the operator should know about *wrappers*, Django's connections by alias."""
    found: list[Finding] = []
    for alias, wrapper in wrappers.items():
        found.extend(_alias_findings(f"DATABASES[{alias!r}]", wrapper, connections))
    found.extend(_logs_in_database() if wrappers else ())
    return found


def _alias_findings(
    where: str, wrapper: "BaseDatabaseWrapper", connections: int
) -> Iterator[Finding]:
    settings = wrapper.settings_dict
    if settings.get("CONN_MAX_AGE", 0) != 0:
        yield Finding(
            "info",
            f"{where}['CONN_MAX_AGE']",
            "has no effect in a worker: database_max_age says how long a connection is "
            "kept from task to task (0 is not at all, as in Celery)",
        )
    size = pool_size(wrapper)
    if size:
        seconds = float(pool_options(wrapper).get("timeout", 30.0))
        yield Finding(
            "warning",
            f"{where}['OPTIONS']['pool']",
            f"Django's own pool has {size} connections, and a task that waits longer than "
            f"{seconds:g} seconds for one fails (PoolTimeout); without this option all tasks "
            f"share {connections} connections in turn",
        )
    engine = settings["ENGINE"]
    if any(name in engine for name in FOREIGN_POOLS) or not _uses_our_connect(wrapper):
        yield Finding(
            "warning",
            f"{where}['ENGINE']",
            f"{engine} opens connections itself, which {SETTING} does not limit; "
            "use django.db.backends.postgresql (or postgis), which needs no pool of its own here",
        )


def _logs_in_database() -> Iterator[Finding]:
    """Name the logging handlers that seem to write to the database while they hold their lock."""
    for kind in {type(handler) for handler in log_handlers()}:
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
                "database while it holds the lock that every logging task needs, so that "
                "those tasks run one at a time; put a QueueHandler in front of it",
            )


def _uses_our_connect(wrapper: "BaseDatabaseWrapper") -> bool:
    """Whether it is Django's own engine, which we change, that defines `Database`."""
    for kind in type(wrapper).__mro__:
        if "Database" in vars(kind):
            return kind.__module__ == "django.db.backends.postgresql.base"
    return False
