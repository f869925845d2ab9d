"""
How long the queues' next messages have waited.

Of a message that says when it was sent, exactly. Of another a lower bound: who asks
remembers in Redis which message is the next, and since when.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from task_server.transport.store.keys import Keys
from task_server.transport.store.scripts import AGES

#: Fields of one list in the answer of the script.
WIDTH: Final = 5

#: Headers that say when a message was sent: ours (`producer.stamp`) and that of sentry-sdk.
SENT: Final = "task-server-sent"
SENTRY: Final = "sentry-task-enqueued-time"


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    What waits in one list.

    Attributes:
        length: Messages; None if the key is no list.

        now: The server's time, in seconds since 1970.

        first_seen: Since when its next message is the next, as far as anyone has looked.

        headers: Of its next message, those that say when it was sent.

        due: Its ETA, in seconds since 1970; None if it has none that says when.
    """

    length: int | None
    now: float
    first_seen: float | None
    headers: Mapping[str, Any]
    due: float | None


def waiting(client: Any, keys: Keys, lists: Sequence[str]) -> dict[str, Waiting]:
    """
    Return what waits in each of the complete *lists*.

    Args:
        client: A Redis client that adds no prefix.

    Raises:
        RedisError: When Redis does not answer, or refuses.
    """
    if not lists:
        return {}
    answer = [one.decode("utf-8", "replace") for one in AGES.run(client, lists, [keys.tails])]
    now, fields = float(answer[0]), answer[1:]
    return {
        name: _read(now, fields[number * WIDTH : (number + 1) * WIDTH])
        for number, name in enumerate(lists)
    }


def _read(now: float, fields: Sequence[str]) -> Waiting:
    length, first_seen, own, theirs, eta = fields
    sent = _json(own)
    headers = {}
    # As [seconds, retries at that send, retries now].
    if isinstance(sent, list) and len(sent) == 3:  # noqa: PLR2004
        headers = {SENT: sent[:2], "retries": sent[2]}
    if theirs:
        headers[SENTRY] = _json(theirs)
    return Waiting(
        length=int(length) if length != "-1" else None,
        now=now,
        first_seen=float(first_seen) if first_seen else None,
        headers=headers,
        due=_time(_json(eta)),
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _time(text: Any) -> float | None:
    """Return when an ETA is, in seconds since 1970; None if it has no offset, or is none."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found.timestamp() if found.tzinfo is not None else None
