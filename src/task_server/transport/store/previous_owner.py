"""
A message that is delivered again says who had it: to whoever gets it, and to the log.

The payload of such a message has `last_held`: `node`, `pid`, and `until`, the
last sign of life in seconds since 1970 by the server's clock.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from task_server.transport.store.unreadable import told

logger: Final = logging.getLogger(__name__)

KEY: Final = "last_held"


def mark(payload: dict[str, Any], held_by: Mapping[str, Any], until: float) -> None:
    """Write into *payload* that *held_by* had it, who gave the last sign of life at *until*."""
    payload[KEY] = {"node": held_by.get("node"), "pid": held_by.get("pid"), "until": until}


def tell(payload: dict[str, Any]) -> None:
    """Say who had the message *payload* before, and take that out of it."""
    last = payload.pop(KEY, None)
    if not isinstance(last, Mapping):
        return
    headers = payload.get("headers")
    name = headers if isinstance(headers, Mapping) else {}
    logger.info(
        "%s[%s] is delivered again, last held by %s (pid %s) until %s",
        *(told(name.get("task")), told(name.get("id"))),
        *(told(last.get("node")), told(last.get("pid")), _time(last.get("until"))),
    )


def _time(seconds: Any) -> str:
    try:
        return datetime.fromtimestamp(float(seconds), UTC).isoformat(" ", "seconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return told(seconds)
