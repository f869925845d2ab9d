"""
A redelivered message names its previous owner, to the next owner and in the log.

The payload of such a message has `last_held`: `node`, `pid`, and `until`, the
last renewal in seconds since 1970 by the server's clock.
"""

import logging
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from task_server.transport.store.excerpt import excerpt

logger: Final = logging.getLogger(__name__)

FIELD: Final = "last_held"

#: Redelivered messages of which this process knows who had them, the last ones.
MOST: Final = 1000

_recent: OrderedDict[str, dict[str, Any]] = OrderedDict()


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
    until = _time(last.get("until"))
    task, id_ = excerpt(name.get("task")), excerpt(name.get("id"))
    node, pid = excerpt(last.get("node")), excerpt(last.get("pid"))
    _recent[id_] = {"node": node, "pid": pid, "until": until}
    while len(_recent) > MOST:
        _recent.popitem(last=False)
    logger.info(
        "%s[%s] is redelivered; %s (pid %s) owned it until %s",
        *(task, id_, node, pid, until),
        # As Celery's own lines of a task have it, for formats that are read by programs.
        extra={"data": {"id": id_, "name": task}},
    )


def recent(id_: str) -> dict[str, Any] | None:
    """Return who had the task *id_* before this worker: `node`, `pid`, `until`; None: nobody."""
    return _recent.get(id_)


def _time(seconds: Any) -> str:
    try:
        return datetime.fromtimestamp(float(seconds), UTC).isoformat(" ", "seconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return excerpt(seconds)
