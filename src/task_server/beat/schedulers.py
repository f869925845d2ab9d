"""Celery's schedulers as beat runs them: a file that cannot be read, or an entry, ends nothing."""

import errno
import logging
import shelve
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from celery.beat import PersistentScheduler, ScheduleEntry
from celery.schedules import schedstate
from celery.utils.imports import load_extension_class_names, symbol_by_name

from task_server.errors import ConfigError, Problem

logger = logging.getLogger("task_server.beat")

#: A file of the schedule that is in use: gdbm locks it, SQLite may.
_BUSY = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)

#: What is no fault of the file's content.
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EISDIR)

#: An entry whose next run cannot be calculated is tried again then, in seconds.
RETRY_SECONDS = 300.0


class MemoryStore(dict[str, Any]):
    """What a scheduler stores, where there is no file."""

    def sync(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class FileScheduler(PersistentScheduler):
    """
    Celery's scheduler with a file.

    One that cannot be read (another Python's or another program's, or half of one) is set
    aside and kept, where Celery removes it or ends. One that another process has open, such
    as a beat that is stopped and lost its lock, is left alone: the times are in memory then.
    """

    # Celery's, without types.
    _open_schedule: Any
    _store: Any
    schedule_filename: str
    persistence: Any = shelve

    def setup_schedule(self) -> None:
        """Open the file, or set it aside and begin a new one."""
        try:
            store = self._open_schedule()
            try:
                _check(store)
            finally:
                _close_unwritten(store)
        except Exception as error:  # noqa: BLE001 - a pickle raises what it likes
            self._without(error)
        super().setup_schedule()

    def _without(self, error: Exception) -> None:
        number = getattr(error, "errno", None)
        file = Path(self.schedule_filename)
        if number in _BUSY or "database is locked" in str(error):
            logger.warning(
                "beat: the schedule file %s is in use by another process: the times of this one "
                "are in memory",
                file,
            )
            self.persistence = SimpleNamespace(open=lambda *_, **__: MemoryStore())
            return
        if number in _CLOSED:
            message = f"{file} cannot be written ({error}); name a folder of this user's own"
            raise ConfigError([Problem("beat.folder", message)]) from error
        name = f"{file.name}.unreadable-{time.strftime('%Y%m%d-%H%M%S')}"
        for suffix in (*self.known_suffixes, ".pag", "-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{file}{suffix}").rename(file.with_name(f"{name}{suffix}"))
        logger.warning(
            "beat: the schedule file %s cannot be read (%s: %s): it is set aside as %s, and a new "
            "one begins",
            file,
            type(error).__name__,
            (str(error).strip().splitlines() or ["-"])[0],
            name,
        )

    def discard(self) -> None:
        """Forget what is not written yet: another beat writes the file now."""
        if self._store is not None:
            _close_unwritten(self._store)
            self._store = MemoryStore()


def _check(store: Any) -> None:
    """Read all that *store* has; raise what is wrong with it."""
    for key in list(store.keys()):
        value = store[key]
        if key == "entries":
            wrong = [name for name, entry in value.items() if not isinstance(entry, ScheduleEntry)]
            if wrong:
                raise ValueError(f"{wrong[0]!r} is no entry of a schedule")


def _close_unwritten(store: Any) -> None:
    if isinstance(store, MemoryStore):
        return
    # A shelf writes its cache when it is closed.
    store.cache = {}
    store.close()


def guarded(scheduler: type) -> type:
    """
    Return the class *scheduler* of a database, of which one bad row ends nothing.

    django-celery-beat skips a row for a ValueError only.
    """
    base: Any = scheduler.Entry  # type: ignore[attr-defined]
    reported: set[str] = set()

    def report(name: str, error: Exception) -> None:
        if name not in reported:
            reported.add(name)
            logger.error(
                "beat: the entry %r is left out: %s: %s", name, type(error).__name__, error
            )

    class GuardedEntry(base):  # type: ignore[misc]
        def __init__(self, model: Any, app: Any = None) -> None:
            try:
                super().__init__(model, app=app)
            except Exception as error:
                report(str(getattr(model, "name", model)), error)
                raise ValueError(str(error)) from error

        def is_due(self) -> Any:
            try:
                return super().is_due()
            except Exception as error:  # noqa: BLE001 - one row must not stop the others
                report(str(self.name), error)
                return schedstate(False, RETRY_SECONDS)

    return type(scheduler.__name__, (scheduler,), {"Entry": GuardedEntry})


def scheduler_class(name: str | None) -> Any:
    """
    Return the class of the scheduler *name* as beat runs it; None is Celery's own.

    Raises:
        ConfigError: When there is none of that name.
    """
    if name is None:
        return FileScheduler
    names: Any = load_extension_class_names("celery.beat_schedulers")
    try:
        found = symbol_by_name(name, aliases=dict(names))
    except (ImportError, AttributeError, ValueError) as error:
        message = f"the scheduler {name!r} cannot be imported ({error}); install or correct it"
        raise ConfigError([Problem("beat.scheduler", message)]) from error
    if found is PersistentScheduler:
        return FileScheduler
    return guarded(found) if hasattr(found, "Model") and hasattr(found, "Changes") else found
