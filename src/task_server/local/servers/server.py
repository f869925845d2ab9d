"""A server that clients can use: one that was found, or one that is to be started."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from task_server.local.supervisor.child import Child


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """
    A Redis or PostgreSQL that clients can use, now or once *child* is ready.

    *url* is what Celery (Redis) or Django (PostgreSQL) is given, *client_url*
    what redis-py or libpq is given; they differ for a Unix socket. *environ*
    is what clients need in their environment. *where* describes in
    one line what was found. *child* is None when there is nothing to start.
    """

    name: str
    url: str = field(repr=False)
    client_url: str = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    where: str
    child: Child | None = None
    #: Whether the user named it, by a URL that may have a password.
    is_given: bool = False
