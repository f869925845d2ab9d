"""
Dead letters: messages that are put aside, since the workers that ran them died, say.

A hash, by delivery tag, under the name of the unacked messages. Each record is
JSON: `reason`, why it was put aside; `id`, `task` and `queue`; `lists` and
`text`, to deliver it again; `deaths`, oldest first, each with `reason`, `node`,
`pid`, `taken` and `at` (seconds since 1970), and what `blame` says of it; and
`at`, when it was put aside. A record of version 0.1 has no `reason`: it crashed.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from task_server.transport.store.scripts import Script

TAKE: Final = Script("redrive.lua")

#: Why a message is put aside: so many workers died of it; no code registers its task.
CRASHED: Final = "crashed"
NOT_REGISTERED: Final = "not registered"

#: The end of year 9999, in seconds since 1970: later times cannot be shown.
LAST: Final = 253_402_300_800

#: Messages that one call delivers again or drops.
BATCH: Final = 100


def key_of(unacked_key: str) -> str:
    """Return the key of the dead messages beside the complete *unacked_key*."""
    return f"{unacked_key}.dead"


@dataclass(frozen=True, slots=True)
class Dead:
    """One message that was put aside; see the module for the fields."""

    tag: str
    id: str
    task: str
    queue: str
    lists: Sequence[str]
    text: str
    deaths: Sequence[Mapping[str, Any]]
    at: float
    record: bytes
    reason: str = CRASHED

    @classmethod
    def read(cls, tag: str, record: bytes) -> "Dead":
        """Return the message of *record*, or as much of it as is there: anybody can write one."""
        try:
            values = json.loads(record)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            values = {}
        deaths = values.get("deaths")
        at = values.get("at")
        lists = values.get("lists")
        return cls(
            tag=tag,
            record=record,
            at=float(at) if isinstance(at, int | float) and 0 <= at < LAST else 0.0,
            deaths=[one for one in deaths if isinstance(one, dict)]
            if isinstance(deaths, list)
            else [],
            reason=str(values.get("reason") or CRASHED),
            lists=[str(one) for one in lists] if isinstance(lists, list) else [],
            **{name: str(values.get(name) or "") for name in ("id", "task", "queue", "text")},
        )

    @property
    def is_whole(self) -> bool:
        """Whether there is enough of it to deliver it again."""
        return bool(self.lists and self.text)


def record_of(
    payload: Mapping[str, Any],
    lists: Sequence[str],
    queue: str,
    text: str,
    now: float,
    *,
    reason: str = CRASHED,
    called: tuple[str, str] | None = None,
) -> str:
    """
    Return the record of a message that is put aside now.

    Args:
        called: Its task and its id, if they are known; else as the message says.
    """
    task, id_ = called or named(payload)
    return json.dumps(
        {
            "reason": reason,
            "id": id_,
            "task": task,
            "queue": queue,
            "lists": list(lists),
            "text": text,
            "deaths": payload.get("deaths", []),
            "at": now,
        }
    )


def named(payload: Mapping[str, Any]) -> tuple[str, str]:
    """Return the task of a message, and its id; of protocol 1 they stand in the body."""
    found: Any = payload.get("headers")
    if not isinstance(found, dict) or not found.get("task"):
        found = body_of(payload)
    if not isinstance(found, dict):
        return "", ""
    return str(found.get("task") or ""), str(found.get("id") or "")


def body_of(payload: Mapping[str, Any]) -> Any:
    """Return what the body of a message says if it is JSON; else None. Nothing else is decoded."""
    body, properties = payload.get("body"), payload.get("properties")
    try:
        if isinstance(properties, dict) and properties.get("body_encoding") == "base64":
            body = base64.b64decode(str(body), validate=True)
        return json.loads(body)  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError):
        return None


def counts(client: Any, key: str, most: int = 10_000) -> dict[str, int]:
    """Return how many messages of the complete *key* there are for each reason, of *most*."""
    found: Counter[str] = Counter()
    for tag, record in islice(client.hscan_iter(key, count=100), most):
        found[Dead.read(tag.decode(errors="replace"), record).reason] += 1
    return dict(found)


def listed(client: Any, key: str) -> list[Dead]:
    """
    Return the dead messages of the complete *key*, the first one first.

    *client* is a Redis client that adds no prefix, here and below.
    """
    found = [
        Dead.read(tag.decode(errors="replace"), record)
        for tag, record in client.hscan_iter(key, count=1000)
    ]
    # A scan may name one twice.
    return sorted({one.tag: one for one in found}.values(), key=lambda one: one.at)


def retry(client: Any, key: str, messages: Iterable[Dead]) -> int:
    """Deliver *messages* again, as if no worker had died; return how many were still there."""
    return _take(client, key, [(one, [(name, one.text) for name in one.lists]) for one in messages])


def drop(client: Any, key: str, messages: Iterable[Dead]) -> int:
    """Forget *messages*; return how many were still there."""
    return _take(client, key, [(one, [("", "")]) for one in messages])


def _take(client: Any, key: str, steps: Sequence[tuple[Dead, list[tuple[str, str]]]]) -> int:
    count = 0
    for first in range(0, len(steps), BATCH):
        arguments: list[str] = []
        for one, pushes in steps[first : first + BATCH]:
            sha = hashlib.sha1(one.record, usedforsecurity=False).hexdigest()
            for name, text in pushes:
                arguments.extend((one.tag, sha, name, text))
        count += len(TAKE.run(client, [key], arguments))
    return count
