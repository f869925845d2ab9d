"""
The project's PostgreSQL, looked at when the worker starts.

A wrong password would fail every task, and so would a socket whose folder is
not mounted; neither should be told by the tasks first.
"""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from task_server.errors import Problem
from task_server.peers.postgres import explain_postgres_error, is_postgres_auth_error
from task_server.worker.database.aliases import postgresql

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)

#: Seconds that a server has at the start; libpq takes at least 2.
TIMEOUT = 3

#: Seconds that a look at a server that was absent may hold up the worker's loop.
AGAIN_TIMEOUT = 1.0

#: Where libpq of Debian and of PostgreSQL itself look for a socket.
SOCKET_FOLDERS = ("/var/run/postgresql", "/tmp")  # noqa: S108 - read, never written

#: A socket's path, or host and port.
Address = str | tuple[str, int]


class Databases:
    """
    The PostgreSQL of each alias, asked once for a connection, which is closed again.

    Call it when Django is set up, before connections are shared by greenlets.

    Attributes:
        refusals: Of servers that refuse the user or the password.

        lines: What else is wrong, for the log.

        missing: The line of a server that does not answer; None if all do.
    """

    def __init__(self) -> None:
        self.refusals: list[Problem] = []
        self.lines: list[str] = []
        self.missing: str | None = None
        self._absent: dict[str, list[Address]] = {}
        for alias, wrapper in postgresql().items():
            settings = wrapper.settings_dict
            server = f"{settings['HOST'] or os.environ.get('PGHOST') or 'the local socket'}"
            server += f":{settings['PORT'] or os.environ.get('PGPORT') or 5432}"
            # Two aliases of one silent server would take the time of two.
            if server in self._absent:
                continue
            try:
                _connect(wrapper)
            except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a line
                self._note(f"DATABASES[{alias!r}]", server, wrapper, error)

    def _note(
        self, setting: str, server: str, wrapper: "BaseDatabaseWrapper", error: Exception
    ) -> None:
        where = f"{server}/{wrapper.settings_dict['NAME'] or ''}"
        found = explain_postgres_error(setting, where, error)
        if is_postgres_auth_error(error):
            self.refusals.append(Problem(found.setting, found.text))
            return
        line = f"{found.setting}: {found.text}"
        self.lines.append(line)
        if found.peer:
            self._absent[server] = list(_addresses(wrapper))
            self.missing = line

    def look_again(self) -> str | None:
        """Return the line of a server that is still absent; None if all accept a connection."""
        for server, addresses in list(self._absent.items()):
            if not any(_accepts(address) for address in addresses):
                return self.missing
            logger.info("PostgreSQL at %s answers", server)
            del self._absent[server]
        self.missing = None
        return None


def _connect(wrapper: "BaseDatabaseWrapper") -> None:
    parameters = dict(wrapper.copy().get_connection_params())
    parameters.pop("pool", None)
    parameters.setdefault("connect_timeout", TIMEOUT)
    # The driver's own: what Django and the project do with a new connection is for tasks.
    driver: Any = wrapper.Database  # type: ignore[attr-defined]
    driver.connect(**parameters).close()


def _addresses(wrapper: "BaseDatabaseWrapper") -> Iterator[Address]:
    settings = wrapper.settings_dict
    hosts = str(settings["HOST"] or os.environ.get("PGHOST") or ",".join(SOCKET_FOLDERS)).split(",")
    ports = str(settings["PORT"] or os.environ.get("PGPORT") or 5432).split(",")
    for index, host in enumerate(hosts):
        port = int(ports[min(index, len(ports) - 1)])
        yield str(Path(host, f".s.PGSQL.{port}")) if host.startswith("/") else (host, port)


def _accepts(address: Address) -> bool:
    try:
        if isinstance(address, str):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(AGAIN_TIMEOUT)
                client.connect(address)
        else:
            socket.create_connection(address, AGAIN_TIMEOUT).close()
    except OSError:
        return False
    return True
