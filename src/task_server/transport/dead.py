"""
Messages that are put aside because the workers that ran them died.

A hash, by delivery tag, under the name of the unacked messages. Each record is
JSON: `id`, `task` and `queue`; `lists` and `text`, to deliver it again;
`deaths`, oldest first, each with `reason`, `node`, `pid`, `taken` and `at`
(seconds since 1970); and `at`, when it was put aside.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from task_server.transport.script import Script

TAKE: Final = Script("dead.lua")

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
            lists=[str(one) for one in lists] if isinstance(lists, list) else [],
            **{name: str(values.get(name) or "") for name in ("id", "task", "queue", "text")},
        )

    @property
    def is_whole(self) -> bool:
        """Whether there is enough of it to deliver it again."""
        return bool(self.lists and self.text)


def record_of(
    payload: Mapping[str, Any], lists: Sequence[str], queue: str, text: str, now: float
) -> str:
    """Return the record of a message that dies now."""
    headers = payload.get("headers") or {}
    return json.dumps(
        {
            "id": str(headers.get("id") or ""),
            "task": str(headers.get("task") or ""),
            "queue": queue,
            "lists": list(lists),
            "text": text,
            "deaths": payload["deaths"],
            "at": now,
        }
    )


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
