"""
What is sent behind a task, so that the next one finds its session as good as new.

`DISCARD ALL` also undoes the time zone that Django sets on each connection, where the
server's default is spelled otherwise (`Etc/UTC`): each task would ask for it again and
wait for the answer. Then PostgreSQL is told what its documentation calls equivalent to
`DISCARD ALL`, and the time zone, in one message.
"""

import re

from task_server.worker.database.connection import PooledConnection

DISCARD = b"DISCARD ALL"

#: `DISCARD ALL` itself allows no other statement beside it.
_EQUIVALENT = (
    b"CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DEALLOCATE ALL; UNLISTEN *; "
    b"SELECT pg_catalog.pg_advisory_unlock_all(); "
    b"DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES; SET TimeZone TO '%s'"
)

#: Refusals in a row after which a server is only told `DISCARD ALL`.
_PATIENCE = 2

#: As in the names of the time zone database; nothing that ends a string.
_NAME = re.compile(r"[\w/+-]+", re.ASCII)


class Resets:
    """How the sessions of this process are reset."""

    def __init__(self) -> None:
        self._refused = 0

    def command(self, pooled: PooledConnection) -> bytes:
        """Return what resets the session of *pooled*."""
        zone = pooled.time_zone
        if zone is None or zone == pooled.server_zone or self._refused >= _PATIENCE:
            pooled.is_reset_joined = False
            return DISCARD
        pooled.is_reset_joined = True
        return _EQUIVALENT % zone.encode()

    def answered(self, pooled: PooledConnection, *, is_good: bool) -> None:
        """Record what a server says to the command: others than PostgreSQL may lack a statement."""
        if pooled.is_reset_joined:
            self._refused = 0 if is_good else self._refused + 1


def is_time_zone(name: object) -> bool:
    """Whether *name* can be put into a command."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None
