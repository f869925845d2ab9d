"""
Which migrations of the project's code its databases lack, and waiting until they lack none.

Workers of a new version begin when their migrations are applied; who applies them is another
process. What a database has beyond the code, as after a roll-back, is left to it.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from task_server.errors import ConfigError, PeerError, Problem, TaskServerError
from task_server.peers.deadline import run_with_timeout
from task_server.peers.postgres import explain_postgres_error

#: Seconds between two looks, and between two lines that say the same.
LOOK_SECONDS = 1.0
SAY_SECONDS = 10.0

#: Seconds for a connection, and for a look as a whole.
CONNECT_SECONDS = 10
ANSWER_SECONDS = 30.0

#: Migrations that a line names.
NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """
    What one look at the databases found.

    Attributes:
        missing: Migrations that are not applied, as app.name in the order in which they
            would be, by the alias of the database.

        trouble: Why a database could not be asked, by its alias.
    """

    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trouble: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether all are applied."""
        return not self.missing and not self.trouble

    def __str__(self) -> str:
        return "; ".join([*map(_missing, self.missing.items()), *self.trouble.values()])


def set_up() -> bool:
    """Set Django up, if the project that is imported uses it; return whether it does."""
    found = sys.modules.get("django.conf")
    if found is None or not (found.settings.configured or os.environ.get("DJANGO_SETTINGS_MODULE")):
        return False
    import django  # noqa: PLC0415 - the project may not use it
    from django.apps import apps  # noqa: PLC0415

    if not apps.ready:
        django.setup()
    return True


def databases(wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """
    Return the aliases whose migrations count: *wanted*, or those that `makemigrations` looks at.

    Without routers that is `default`; with some it is each alias in which they allow a model.

    Raises:
        ConfigError: When there is no alias of that name.
    """
    from django.conf import settings  # noqa: PLC0415 - as above
    from django.db import DEFAULT_DB_ALIAS, connections  # noqa: PLC0415

    known = [alias for alias in connections if not _is_dummy(connections[alias])]
    if unknown := [alias for alias in wanted if alias not in known]:
        message = f"{unknown[0]!r} is none of the project's databases; choose from {listed(known)}"
        raise ConfigError([Problem("--database", message)], "the options")
    if wanted:
        return tuple(dict.fromkeys(wanted))
    if not settings.DATABASE_ROUTERS:
        return tuple(alias for alias in known if alias == DEFAULT_DB_ALIAS)
    return tuple(alias for alias in known if any(_labels(alias)))


def wait(
    aliases: Sequence[str], seconds: float, say: Callable[[str], None], *, look_at: Any = None
) -> None:
    """
    Wait until the databases *aliases* have all migrations of the code, *seconds* at most.

    Args:
        say: Called with what it waits for: when that changes, and every ten seconds.

        look_at: In the place of `look`.

    Raises:
        ConfigError: When waiting does not help: the migrations contradict each other.
        PeerError: When a database cannot be asked for so long.
        TaskServerError: When some are not applied for so long.
    """
    ends = time.monotonic() + seconds
    check_code()
    said, said_at = "", -math.inf
    while True:
        found: Look = (look_at or look)(aliases, max(1.0, ends - time.monotonic()))
        now = time.monotonic()
        if found.is_done:
            return
        if now >= ends:
            raise _error(found, seconds)
        if str(found) != said or now - said_at >= SAY_SECONDS:
            said, said_at = str(found), now
            say(f"waiting, for {ends - now:.0f} s at most: {said}")
        time.sleep(min(LOOK_SECONDS, max(0.0, ends - now)))


def look(aliases: Sequence[str], seconds: float = ANSWER_SECONDS) -> Look:
    """
    Look at each of the databases *aliases*, *seconds* at most.

    Raises:
        ConfigError: When the migrations contradict each other.
    """
    missing, trouble = {}, {}
    for alias in aliases:
        try:
            names = run_with_timeout(min(seconds, ANSWER_SECONDS), partial(_missing_in, alias))
        except TaskServerError:
            raise
        except Exception as error:  # noqa: BLE001 - of any database and driver
            trouble[alias] = _explained(alias, error)
        else:
            if names:
                missing[alias] = names
    return Look(missing=missing, trouble=trouble)


def listed(names: Sequence[str]) -> str:
    """Return the first of *names*, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _missing(item: tuple[str, Sequence[str]]) -> str:
    alias, names = item
    noun = "migration is" if len(names) == 1 else "migrations are"
    return f"{len(names)} {noun} not applied in the database {alias!r} ({listed(names)})"


def _error(found: Look, seconds: float) -> TaskServerError:
    if found.trouble:
        return PeerError(f"After {seconds:g} s: {found}.")
    return TaskServerError(
        f"After {seconds:g} s {found}. Apply them with this version of the code, by `task-server "
        "manage migrate`; if that runs, or has failed, see its log (of the Job, in Kubernetes); "
        "--timeout (TASK_SERVER_MIGRATIONS_TIMEOUT) bounds the wait."
    )


def check_code() -> None:
    """
    Load the migrations of the code, whatever the databases have.

    Raises:
        ConfigError: When `migrate` would refuse them, so that waiting would never end.
    """
    from django.db.migrations.loader import MigrationLoader  # noqa: PLC0415 - needs settings

    try:
        loader: Any = MigrationLoader(None, ignore_no_migrations=True)
    except Exception as error:  # the project's own modules run
        text = " ".join(str(error).split())
        raise _contradiction(
            f"they cannot be loaded ({type(error).__name__}: {text}); correct the project's "
            "migrations"
        ) from error
    if conflicts := loader.detect_conflicts():
        names = ", ".join(f"{label} ({', '.join(ends)})" for label, ends in conflicts.items())
        raise _contradiction(f"an app has two last ones: {names}; run `makemigrations --merge`")


def _missing_in(alias: str) -> tuple[str, ...]:
    """
    Return the migrations that the database *alias* lacks, over a connection of this thread.

    Raises:
        ConfigError: When what it has contradicts itself.
    """
    from django.db import connections  # noqa: PLC0415 - as above
    from django.db.migrations.exceptions import InconsistentMigrationHistory  # noqa: PLC0415
    from django.db.migrations.executor import MigrationExecutor  # noqa: PLC0415

    connection = connections[alias]
    _prepare(connection)
    try:
        executor: Any = MigrationExecutor(connection)
        executor.loader.check_consistent_history(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except InconsistentMigrationHistory as error:
        raise _contradiction(
            f"{error}; apply the earlier one by hand, or restore the table django_migrations",
            f"DATABASES[{alias!r}]",
        ) from error
    finally:
        connection.close()
    labels = set(_labels(alias))
    return tuple(
        f"{migration.app_label}.{migration.name}"
        for migration, _ in plan
        if migration.app_label in labels
    )


def _contradiction(message: str, setting: str = "migrations") -> ConfigError:
    return ConfigError([Problem(setting, message)], "the project's migrations")


def _prepare(connection: Any) -> None:
    """
    Make a look over *connection*, which is not open yet, end in time and create nothing.

    Raises:
        FileNotFoundError: When it is a file of SQLite that does not exist: a look would make one.
    """
    settings = connection.settings_dict
    if connection.vendor == "postgresql":
        # Of this look alone: a pool keeps threads.
        settings["OPTIONS"].pop("pool", None)
        settings["OPTIONS"].setdefault("connect_timeout", CONNECT_SECONDS)
    name = str(settings["NAME"])
    is_file = connection.vendor == "sqlite" and not name.startswith(("file:", ":memory:"))
    if is_file and not Path(name).exists():
        raise FileNotFoundError(f"there is no file {name} yet")


def _labels(alias: str) -> Iterator[str]:
    """Yield the apps whose tables belong into the database *alias*, as the routers have it."""
    from django.apps import apps  # noqa: PLC0415 - as above
    from django.db import router  # noqa: PLC0415

    for config in apps.get_app_configs():
        models = list(config.get_models())
        allowed: Iterable[bool] = (
            (router.allow_migrate_model(alias, model) for model in models)
            if models
            else (router.allow_migrate(alias, config.label),)
        )
        if any(allowed):
            yield config.label


def _is_dummy(connection: Any) -> bool:
    return str(connection.settings_dict.get("ENGINE") or "").endswith(".dummy")


def _explained(alias: str, error: Exception) -> str:
    from django.db import connections  # noqa: PLC0415 - as above

    settings = connections[alias].settings_dict
    if connections[alias].vendor == "postgresql":
        where = f"{settings['HOST'] or 'the local socket'}:{settings['PORT'] or 5432}"
        where = f"{where}/{settings['NAME'] or ''}"
        return explain_postgres_error(f"DATABASES[{alias!r}]", where, error).text
    return f"the database {alias!r} cannot be asked: {' '.join(str(error).split())}"
