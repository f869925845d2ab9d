"""The settings of docket's own, with their defaults: all of them."""

from dataclasses import dataclass, fields
from typing import Self

from django.conf import settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    How much, and how long. A setting DOCKET_FETCH_BYTES overrides `fetch_bytes`.

    Sizes are bytes, times are seconds.
    """

    #: The largest document that is fetched.
    fetch_bytes: int = 100 * 1024**2
    #: To connect, and between two packets.
    fetch_connect_seconds: float = 5.0
    fetch_read_seconds: float = 15.0
    #: One fetch in all, its retries included.
    fetch_seconds: int = 60
    #: After a connection error, 429 or 5xx: at most so often again …
    fetch_retries: int = 4
    #: … after this time, doubled each time, and half of it at random. The
    #: defaults make 2.5 to 5 seconds in all.
    fetch_backoff_seconds: float = 1 / 3
    #: Connections kept to one host.
    fetch_connections: int = 100
    #: Reading one document, in a process of its own.
    read_seconds: int = 60
    #: What that process may take beside what it began with.
    read_memory_bytes: int = 1024**3
    #: Celery's own time limit comes so much later. It is for what a task cannot
    #: end itself: a resolver that does not answer, a file system that hangs.
    margin_seconds: int = 30
    #: A document whose reading has so often started and never ended (it kills
    #: the worker each time) is given up.
    read_starts: int = 5

    @classmethod
    def current(cls) -> Self:
        """Return the limits that Django's settings give."""
        names = {field.name: f"DOCKET_{field.name.upper()}" for field in fields(cls)}
        return cls(
            **{
                name: getattr(settings, setting)
                for name, setting in names.items()
                if hasattr(settings, setting)
            }
        )
