"""
Celery's Redis result backend, with fewer round trips; what lies in Redis stays Celery's.

Celery looks a result up, stores it, and counts it for its chord: three trips for each task. Here
a script on the server does all of it in one. Keys, values and channels are Celery's: its own
workers and clients go on beside ours, in the same chord.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["install", "installed", "uninstall"]

#: The schemes of a result backend, and our class for each. `redis+socket` is Redis as well.
ALIASES: Final = {
    "redis": "task_server.results.backends:RedisBackend",
    "rediss": "task_server.results.backends:RedisBackend",
    "sentinel": "task_server.results.backends:SentinelBackend",
}

_celerys: dict[str, str] = {}


def install() -> None:
    """
    Use these classes in this process, for results in Redis.

    Backends made before, and classes that a project names itself, stay what they are.
    """
    from celery.app.backends import BACKEND_ALIASES  # noqa: PLC0415 - the launcher imports no Celery

    for scheme in ALIASES:
        _celerys.setdefault(scheme, BACKEND_ALIASES[scheme])
    _replace(ALIASES)


def installed() -> bool:
    """Return whether `install` was called."""
    return bool(_celerys)


def uninstall() -> None:
    """Undo `install` for backends to come."""
    _replace(_celerys)
    _celerys.clear()


def _replace(classes: Mapping[str, str]) -> None:
    from celery.app.backends import BACKEND_ALIASES  # noqa: PLC0415 - the launcher imports no Celery

    BACKEND_ALIASES.update(classes)
