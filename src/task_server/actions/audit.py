"""
Who did what by hand, and when: a list in Redis, the newest first, and a line in the log.

The list is bounded. Each entry is JSON: `at`, seconds since 1970 by the server's clock; `by`,
the operator; `action`; `on`, what it was done to; `detail`, a phrase.
"""

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

from redis.exceptions import ResponseError

from task_server.transport.store.excerpt import excerpt
from task_server.transport.store.keys import Keys

logger: Final = logging.getLogger(__name__)

#: Entries that are kept.
MOST: Final = 1000

#: Characters of one part of an entry.
LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One action.

    Attributes:
        at: In seconds since 1970, by the server's clock; None if the entry does not say.
    """

    at: float | None
    who: str
    action: str
    on: str
    detail: str

    def __str__(self) -> str:
        """Return its line, which is safe for a terminal: anyone can write an entry."""
        words = " ".join(excerpt(one) for one in (self.action, self.on) if one)
        about = f": {excerpt(self.detail)}" if self.detail else ""
        return f"{_time(self.at)}  {excerpt(self.who) or '?'}  {words}{about}"


def record(client: Any, keys: Keys, who: str, action: str, on: str, *, detail: str = "") -> None:
    """
    Record that *who* has done *action*; it is done, so nothing is raised for want of a right.

    Raises:
        RedisError: When Redis does not answer.
    """
    parts = [str(one)[:LONGEST] for one in (who, action, on, detail)]
    logger.info("%s: %s %s%s", *parts[:3], f": {parts[3]}" if parts[3] else "")
    try:
        seconds, micros = client.time()
        values = dict(zip(("by", "action", "on", "detail"), parts, strict=True))
        text = json.dumps({"at": round(seconds + micros / 1e6, 3), **values})
        client.lpush(keys.audit, text)
        client.ltrim(keys.audit, 0, MOST - 1)
    except ResponseError as error:
        logger.warning("the audit in the key %s could not be written: %s", keys.audit, error)


def entries(client: Any, keys: Keys, most: int = MOST) -> list[Entry]:
    """
    Return the last *most* actions, the newest first.

    Raises:
        RedisError: When Redis does not answer, or refuses.
    """
    return [_read(text) for text in client.lrange(keys.audit, 0, most - 1)]


def _read(text: bytes) -> Entry:
    """Return the entry of *text*, as far as it can be read: anyone can write one."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        values = {"detail": text.decode("utf-8", "replace")}
    try:
        at = float(values["at"])
    except (KeyError, TypeError, ValueError, OverflowError):
        at = float("nan")
    parts = (str(values.get(name) or "")[:LONGEST] for name in ("by", "action", "on", "detail"))
    return Entry(at if isfinite(at) else None, *parts)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}"
    except (OverflowError, OSError, ValueError):
        return "?"
