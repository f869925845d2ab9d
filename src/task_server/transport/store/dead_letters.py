"""
Dead letters: messages that are no longer delivered, such as those that crashed their workers.

A hash, by delivery tag, under the name of the unacked messages. Each record is
JSON: `reason`, why it is a dead letter; `id`, `task` and `queue`; `lists` and
`text`, to deliver it again; `deaths`, the crashes, oldest first, each with
`reason`, `node`, `pid`, `taken` and `at` (seconds since 1970), and what `crashes`
says of it; and `at`, when it was moved here. A record of version 0.1 has no
`reason`: it crashed.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from task_server.transport.store.portions import portions, scanned
from task_server.transport.store.scripts import REDRIVE

#: Why a message is a dead letter: it crashed so many workers; no code registers its task.
CRASHED: Final = "crashed"
NOT_REGISTERED: Final = "not registered"

#: The end of year 9999, in seconds since 1970: later times cannot be shown.
LAST: Final = 253_402_300_800


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter; see the module for the fields."""

    tag: str
    id: str
    task: str
    queue: str
    lists: Sequence[str]
    text: str
    crashes: Sequence[Mapping[str, Any]]
    at: float
    record: bytes
    reason: str = CRASHED

    @classmethod
    def read(cls, tag: str, record: bytes) -> "DeadLetter":
        """Return the message of *record*, as far as it can be read: anyone can write one."""
        try:
            values = json.loads(record)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            values = {}
        crashes = values.get("deaths")
        at = values.get("at")
        lists = values.get("lists")
        return cls(
            tag=tag,
            record=record,
            at=float(at) if isinstance(at, int | float) and 0 <= at < LAST else 0.0,
            crashes=[one for one in crashes if isinstance(one, dict)]
            if isinstance(crashes, list)
            else [],
            reason=str(values.get("reason") or CRASHED),
            lists=[str(one) for one in lists] if isinstance(lists, list) else [],
            **{name: str(values.get(name) or "") for name in ("id", "task", "queue", "text")},
        )

    @property
    def is_whole(self) -> bool:
        """Whether the record is complete enough to redeliver it."""
        return bool(self.lists and self.text)

    @property
    def payload(self) -> dict[str, Any]:
        """Its message, decoded; empty if that is no object."""
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def record_of(
    payload: Mapping[str, Any],
    lists: Sequence[str],
    queue: str,
    text: str,
    now: float,
    *,
    reason: str = CRASHED,
    task_and_id: tuple[str, str] | None = None,
) -> str:
    """
    Return the record of a message that becomes a dead letter now.

    Args:
        task_and_id: Its task and its id, if they are known; else as the message says.
    """
    task, id_ = task_and_id or task_and_id_of(payload)
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


def task_and_id_of(payload: Mapping[str, Any]) -> tuple[str, str]:
    """Return the task of a message, and its id; in protocol 1 they stand in the body."""
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


def arguments(payload: Mapping[str, Any]) -> tuple[Any, Any]:
    """
    Return the arguments of a message: from its sender's `argsrepr`, or from its JSON.

    None where neither exists, as for pickled arguments of protocol 1.
    """
    headers = payload.get("headers")
    headers = headers if isinstance(headers, dict) else {}
    body = body_of(payload)
    if isinstance(body, list) and len(body) > 1:
        found = body[0], body[1]
    elif isinstance(body, dict):
        found = body.get("args"), body.get("kwargs")
    else:
        found = None, None
    args, kwargs = (headers.get(name) for name in ("argsrepr", "kwargsrepr"))
    return args or found[0], kwargs or found[1]


def counts(client: Any, key: str, most: int = 10_000) -> dict[str, int]:
    """Return how many of the first *most* dead letters of the complete *key* have each reason."""
    found: Counter[str] = Counter()
    for tag, record in islice(_records(client, key), most):
        found[DeadLetter.read(tag.decode(errors="replace"), record).reason] += 1
    return dict(found)


def _records(client: Any, key: str) -> Iterator[tuple[bytes, bytes]]:
    for page in scanned(client, key):
        yield from page.items()


def all_of(client: Any, key: str) -> list[DeadLetter]:
    """
    Return the dead letters of the complete *key*, the oldest first.

    *client* is a Redis client that adds no prefix, here and below.
    """
    found = [
        DeadLetter.read(tag.decode(errors="replace"), record)
        for tag, record in _records(client, key)
    ]
    # A scan may name one twice.
    return sorted({one.tag: one for one in found}.values(), key=lambda one: one.at)


def retry(client: Any, key: str, messages: Iterable[DeadLetter]) -> int:
    """Deliver *messages* again, with no crash counted; return how many were still there."""
    return _redrive(
        client, key, [(one, [(name, one.text) for name in one.lists]) for one in messages]
    )


def drop(client: Any, key: str, messages: Iterable[DeadLetter]) -> int:
    """Delete *messages*; return how many were still there."""
    return _redrive(client, key, [(one, [("", "")]) for one in messages])


def _redrive(
    client: Any, key: str, steps: Sequence[tuple[DeadLetter, list[tuple[str, str]]]]
) -> int:
    count = 0
    for portion in portions(steps, lambda step: len(step[0].record)):
        arguments: list[str] = []
        for one, pushes in portion:
            sha = hashlib.sha1(one.record, usedforsecurity=False).hexdigest()
            for name, text in pushes:
                arguments.extend((one.tag, sha, name, text))
        count += len(REDRIVE.run(client, [key], arguments))
    return count
