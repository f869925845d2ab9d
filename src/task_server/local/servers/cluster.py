"""
A PostgreSQL cluster on disk: whether it is complete, whether a server runs on it, and
what the last lines of a server that did not start mean.
"""

import os
import re
import select
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from task_server.errors import LocalServerError
from task_server.health.process import is_running

#: Lines of postmaster.pid, counted from 0 (miscadmin.h counts from 1).
_PID, _DATA, _PORT, _STATUS = 0, 1, 3, 7

_CONNECT_SECONDS = 5

#: How long to wait for a server that is stopping.
_STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready on a cluster."""

    pid: int
    port: int


def exists(data: Path) -> bool:
    """
    Return whether there is a cluster in *data*.

    Raises:
        LocalServerError: It is damaged, or something else.
    """
    if not data.exists() or (data.is_dir() and not any(data.iterdir())):
        return False
    version(data)
    if not (data / "global" / "pg_control").exists():
        raise _damaged(data, "global/pg_control is missing")
    return True


def version(data: Path) -> str:
    """
    Return the major version of the cluster in *data*, such as "18".

    Raises:
        LocalServerError: PG_VERSION is missing or has no version.
    """
    try:
        text = (data / "PG_VERSION").read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise _damaged(data, f"PG_VERSION cannot be read ({error.strerror})") from error
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise _damaged(data, f"PG_VERSION has {text[:20]!r}, not a version")
    return text


def _damaged(data: Path, what: str) -> LocalServerError:
    return LocalServerError(
        f"{data} is not a complete PostgreSQL cluster: {what}. "
        "Restore it from a backup, or move it away to start empty."
    )


def _postmaster(data: Path) -> list[str]:
    """Return the lines of postmaster.pid, padded; empty when there is none."""
    try:
        lines = (data / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [*(line.strip() for line in lines), *[""] * 8]


def _is_server_of(pid: int, data: Path) -> bool:
    """Return whether the process *pid* lives and may be the server of *data*."""
    if not is_running(pid, None):
        return False
    if not Path("/proc/self").exists():
        return True
    # A server's working folder is its data folder; another process has been given
    # the pid of a dead one. (Ours can always be read.)
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data)
    except OSError:
        return False


def _wait_for_end(pid: int, seconds: float) -> bool:
    """Wait up to *seconds* for the end of the process *pid*, which need not be our child."""
    if sys.platform != "linux":
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def running(data: Path) -> Running | None:
    """
    Return the server that runs on *data*; None when there is none.

    Waits for the end of one that is stopping, as after the death of its supervisor.

    Raises:
        LocalServerError: It is still starting, or does not finish stopping.
    """
    lines = _postmaster(data)
    if not lines or not lines[_PID].isdigit():
        return None
    pid = int(lines[_PID])
    if not _is_server_of(pid, data):
        return None
    if lines[_STATUS] == "ready":
        return Running(pid, int(lines[_PORT]))
    if lines[_STATUS] == "stopping" and _wait_for_end(pid, _STOP_SECONDS):
        return None
    raise LocalServerError(
        f"The PostgreSQL in {data} (pid {pid}) is {lines[_STATUS] or 'starting'}; "
        "try again in a moment."
    )


def clear_stale(data: Path, sockets: Path, port: int) -> None:
    """
    Remove the lock files of a server of *data* that is gone.

    PostgreSQL does so itself, unless another process has been given its pid; then it
    refuses to start.
    """
    lines = _postmaster(data)
    if lines and lines[_PID].isdigit() and _is_server_of(int(lines[_PID]), data):
        return
    (data / "postmaster.pid").unlink(missing_ok=True)
    # The folder is private to this state, so its only server was that one.
    (sockets / f".s.PGSQL.{port}.lock").unlink(missing_ok=True)


def ensure_database(variables: Mapping[str, str], database: str) -> None:
    """
    Create *database* unless the server has it.

    Raises:
        LocalServerError: The server refuses us.
    """
    driver, sql = _driver()
    parameters = {
        "host": variables["PGHOST"],
        "port": variables["PGPORT"],
        "user": variables["PGUSER"],
        "dbname": "postgres",
        "connect_timeout": _CONNECT_SECONDS,
    }
    try:
        with closing(driver.connect(**parameters)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
                if cursor.fetchone() is None:
                    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database))
                    cursor.execute(statement)
    except driver.errors.DuplicateDatabase:
        return
    except driver.Error as error:
        raise LocalServerError(
            f"PostgreSQL on {variables['PGHOST']} runs, but the database {database} "
            f"could not be created: {str(error).strip()}"
        ) from error


def _driver() -> tuple[Any, Any]:
    """
    Return the driver that the project has, psycopg2 or psycopg 3, and its module `sql`.

    Imported here, since only `ensure_database` needs one.
    """
    for name in ("psycopg2", "psycopg"):
        try:
            modules = [import_module(f"{name}{part}") for part in ("", ".sql", ".errors")]
        except ImportError:
            continue
        return modules[0], modules[1]
    raise LocalServerError(
        "Cannot create a database on PostgreSQL: neither psycopg2 nor psycopg is installed. "
        "Install the one that the project uses."
    )


#: What PostgreSQL prints when it does not start, and what that means; the first match counts.
_MEANINGS = (
    (
        "No space left on device",
        "PostgreSQL cannot write to {data}: the disk is full; free some space.",
    ),
    (
        "Read-only file system",
        "PostgreSQL cannot write to {data}: the disk is read-only; choose another folder.",
    ),
    (
        "Address already in use|could not bind",
        "PostgreSQL cannot listen: its port is in use; free it, or choose another.",
    ),
    (
        "lock file .* already exists",
        "Another PostgreSQL is using {data}; stop it or choose another folder for the state.",
    ),
    (
        (
            "PANIC|checkpoint record|invalid data in file|incorrect checksum|control file"
            "|incompatible with server|could not open (file|directory)"
        ),
        (
            "The PostgreSQL cluster in {data} is damaged. "
            "Restore it from a backup, or move it away to start empty."
        ),
    ),
)


def explain(lines: Sequence[str], data: Path) -> str | None:
    """Return what the last *lines* of a PostgreSQL that did not start mean."""
    text = "\n".join(lines)
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, text):
            return meaning.format(data=data)
    return None
