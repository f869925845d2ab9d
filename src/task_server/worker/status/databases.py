"""
Checks the project's PostgreSQL when the worker starts.

A wrong password, or a socket whose folder is not mounted, would fail every task.
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

#: Seconds for a connection at the start; libpq waits at least 2.
TIMEOUT = 3

#: Seconds that retrying an unreachable server may block the worker's loop.
RETRY_TIMEOUT = 1.0

#: The default socket folders of libpq: Debian's and PostgreSQL's own.
SOCKET_FOLDERS = ("/var/run/postgresql", "/tmp")  # noqa: S108 - read, never written

#: A socket's path, or host and port.
Address = str | tuple[str, int]


class Databases:
    """
    The PostgreSQL of each alias: one connection is opened, and closed.

    Call it when Django is set up, before connections are shared by greenlets.

    Attributes:
        refusals: Problems of servers that reject the user or the password.

        errors: Other errors, for the log.

        unreachable: The error of a server that does not answer; None if all do.
    """

    def __init__(self) -> None:
        self.refusals: list[Problem] = []
        self.errors: list[str] = []
        self.unreachable: str | None = None
        self._unreachable_servers: dict[str, list[Address]] = {}
        for alias, wrapper in postgresql().items():
            settings = wrapper.settings_dict
            server = f"{settings['HOST'] or os.environ.get('PGHOST') or 'the local socket'}"
            server += f":{settings['PORT'] or os.environ.get('PGPORT') or 5432}"
            # A second alias of an unreachable server would only wait again.
            if server in self._unreachable_servers:
                continue
            try:
                _connect(wrapper)
            except Exception as error:  # noqa: BLE001 - any error becomes a line
                self._record(f"DATABASES[{alias!r}]", server, wrapper, error)

    def _record(
        self, setting: str, server: str, wrapper: "BaseDatabaseWrapper", error: Exception
    ) -> None:
        where = f"{server}/{wrapper.settings_dict['NAME'] or ''}"
        found = explain_postgres_error(setting, where, error)
        if is_postgres_auth_error(error):
            self.refusals.append(Problem(found.setting, found.text))
            return
        line = f"{found.setting}: {found.text}"
        self.errors.append(line)
        if found.peer:
            self._unreachable_servers[server] = list(_addresses(wrapper))
            self.unreachable = line

    def retry(self) -> str | None:
        """Return the line of a server that is still unreachable; None if all accept connections."""
        for server, addresses in list(self._unreachable_servers.items()):
            if not any(_accepts(address) for address in addresses):
                return self.unreachable
            logger.info("PostgreSQL at %s accepts connections", server)
            del self._unreachable_servers[server]
        self.unreachable = None
        return None


def _connect(wrapper: "BaseDatabaseWrapper") -> None:
    parameters = dict(wrapper.copy().get_connection_params())
    parameters.pop("pool", None)
    parameters.setdefault("connect_timeout", TIMEOUT)
    # By the driver: Django's and the project's setup of a new connection is for tasks.
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
                client.settimeout(RETRY_TIMEOUT)
                client.connect(address)
        else:
            socket.create_connection(address, RETRY_TIMEOUT).close()
    except OSError:
        return False
    return True
