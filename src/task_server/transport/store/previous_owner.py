"""
A message that is delivered again names who had it before: to its next owner, and in the log.

The payload of such a message has `last_held`: `node`, `pid`, and `until`, the
last sign of life in seconds since 1970 by the server's clock.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from task_server.transport.store.excerpt import excerpt

logger: Final = logging.getLogger(__name__)

FIELD: Final = "last_held"


def add_to(payload: dict[str, Any], owner: Mapping[str, Any], until: float) -> None:
    """Write into *payload* that *owner* had it, whose last sign of life was at *until*."""
    payload[FIELD] = {"node": owner.get("node"), "pid": owner.get("pid"), "until": until}


def log_and_remove(payload: dict[str, Any]) -> None:
    """Log who had the message *payload* before, and take that out of it."""
    last = payload.pop(FIELD, None)
    if not isinstance(last, Mapping):
        return
    headers = payload.get("headers")
    name = headers if isinstance(headers, Mapping) else {}
    logger.info(
        "%s[%s] is delivered again, last held by %s (pid %s) until %s",
        *(excerpt(name.get("task")), excerpt(name.get("id"))),
        *(excerpt(last.get("node")), excerpt(last.get("pid")), _time(last.get("until"))),
    )


def _time(seconds: Any) -> str:
    try:
        return datetime.fromtimestamp(float(seconds), UTC).isoformat(" ", "seconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return excerpt(seconds)
