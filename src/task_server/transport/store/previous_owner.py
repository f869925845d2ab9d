"""
A redelivered message names its previous owner, to the next owner and in the log.

The payload of such a message has `last_held`: `node`, `pid`, and `until`, the
last renewal in seconds since 1970 by the server's clock.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from task_server.transport.store.excerpt import excerpt

logger: Final = logging.getLogger(__name__)

FIELD: Final = "last_held"


def add_to(payload: dict[str, Any], owner: Mapping[str, Any], until: float) -> None:
    """Write into *payload* that *owner* had it, and last renewed it at *until*."""
    payload[FIELD] = {"node": owner.get("node"), "pid": owner.get("pid"), "until": until}


def log_and_remove(payload: dict[str, Any]) -> None:
    """Log the previous owner of the message *payload*, and remove it from there."""
    last = payload.pop(FIELD, None)
    if not isinstance(last, Mapping):
        return
    headers = payload.get("headers")
    name = headers if isinstance(headers, Mapping) else {}
    logger.info(
        "%s[%s] is redelivered; %s (pid %s) owned it until %s",
        *(excerpt(name.get("task")), excerpt(name.get("id"))),
        *(excerpt(last.get("node")), excerpt(last.get("pid")), _time(last.get("until"))),
    )


def _time(seconds: Any) -> str:
    try:
        return datetime.fromtimestamp(float(seconds), UTC).isoformat(" ", "seconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return excerpt(seconds)
