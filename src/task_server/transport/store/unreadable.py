"""
Messages that cannot be delivered: kept in a list, each with the reason beside it.

The list has the messages as they were, newest first: what is pushed back to a
queue is what was taken. A hash has the reasons, by the SHA-1 of the message:
JSON with `reason`, `list` (where it was), `at` (seconds since 1970), and `node`
and `pid` of the worker that put it aside.

While the list cannot be used such a message stays in the hash of the unacked
ones, in a field that begins with `unreadable:`, and goes to the list later.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import time
from typing import Any, Final

from kombu.utils.encoding import bytes_to_str
from redis.exceptions import ResponseError

from task_server.transport.store import owner as holder
from task_server.transport.store.entry import taken
from task_server.transport.store.rights import is_refusal
from task_server.transport.store.scripts import UNREADABLE

logger: Final = logging.getLogger(__name__)

#: How the fields begin among the unacked messages that wait for the list.
FIELD: Final = "unreadable:"

#: What the fetch writes behind the message there; version 0.1 wrote the second.
_ABOUT: Final = b', "unreadable":{'
_NOTHING: Final = b", null, null]"

#: Fields that one scan looks at.
SCANNED: Final = 500

#: Characters of a message, or of a reason, that a log line tells at most.
MOST_TOLD: Final = 200


def key_of(unacked_key: str) -> str:
    """Return the key of the list beside the complete *unacked_key*."""
    return f"{unacked_key}.unreadable"


def reasons_key_of(unreadable_key: str) -> str:
    """Return the key of the reasons beside the complete *unreadable_key*."""
    return f"{unreadable_key}.reasons"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One message that was put aside; without a reason if version 0.1 did it."""

    text: bytes
    reason: str = ""
    list: str = ""
    at: float = 0.0
    node: str = ""
    pid: int = 0


def count(client: Any, key: str) -> int:
    """
    Return how many messages the complete *key* has, with those that wait to get there.

    *client* is a Redis client that adds no prefix, here and below.

    Raises:
        ResponseError: When they cannot be counted.
    """
    waiting = sum(len(page) for page in _waiting(client, _unacked_of(key)))
    try:
        return int(client.llen(key)) + waiting
    except ResponseError:
        if not waiting:
            raise
        return waiting


def _unacked_of(key: str) -> str:
    return key.removesuffix(key_of(""))


def _waiting(client: Any, unacked: str) -> Iterator[dict[bytes, bytes]]:
    """Return the fields of the hash *unacked* that wait for the list, some at a time."""
    cursor = None
    while cursor != 0:
        cursor, page = client.hscan(unacked, cursor or 0, match=f"{FIELD}*", count=SCANNED)
        if page:
            yield page


def gather(channel: Any) -> int:
    """
    Move what waits among the unacked messages into the list; return how many it was.

    While the list cannot be used that is said once, and nothing is read.

    Raises:
        One of the connection's errors.
    """
    client, (unacked, times) = channel.bare_client(), channel.unacked_keys()
    key, count = channel.unreadable_key, 0
    try:
        client.llen(key)
        for page in _waiting(client, unacked):
            arguments: list[Any] = [key, reasons_key_of(key)]
            for tag, entry in page.items():
                text, about = _split(entry)
                arguments.extend((tag, _sha1(entry), text, _sha1(text), about))
            problems, moved = UNREADABLE.run(client, (unacked, times), arguments)
            count += len(moved)
            if problems:
                channel.problems.optional(*map(bytes_to_str, problems[:2]))
                break
        else:
            channel.late.unreadable = 0
    except ResponseError as error:
        if not (is_refusal(error) or "WRONGTYPE" in str(error)):
            raise
        channel.problems.optional(key, str(error))
    if count:
        logger.warning(
            "%d messages that cannot be read, and waited in the hash %s, are in the list %s",
            *(count, unacked, key),
        )
    return count


def _split(entry: bytes) -> tuple[bytes, bytes]:
    """Return the message of *entry* as it was, and what is told about it: JSON."""
    start = entry.rfind(_ABOUT)
    if start >= 0 and entry.endswith(b"}]"):
        return entry[1:start], entry[start + len(_ABOUT) - 1 : -1]
    about = b'{"reason": "it could not be read: see the log of the worker that took it"}'
    return entry[1:].removesuffix(_NOTHING), about


def listed(client: Any, key: str, most: int = 1000) -> list[Unreadable]:
    """Return the messages of the complete *key*, the newest first, *most* of them."""
    texts = client.lrange(key, 0, most - 1)
    if not texts:
        return []
    reasons = client.hmget(reasons_key_of(key), [_sha1(text) for text in texts])
    return [_described(text, about) for text, about in zip(texts, reasons, strict=True)]


def _described(text: bytes, about: bytes | None) -> Unreadable:
    try:
        told = json.loads(about or b"{}")
        return Unreadable(
            text,
            *(str(told.get("reason", "")), str(told.get("list", "")), float(told.get("at", 0))),
            *(str(told.get("node", "")), int(told.get("pid", 0))),
        )
    except (ValueError, TypeError, AttributeError):
        # Anybody may write there.
        return Unreadable(text)


def told(text: Any) -> str:
    """Return the beginning of *text* for a line of a log: escaped, and of bounded length."""
    if isinstance(text, bytes):
        text = text[: MOST_TOLD * 4].decode("utf-8", "backslashreplace")
    shown = ascii(str(text)[:MOST_TOLD])[1:-1]
    return shown if len(shown) <= MOST_TOLD else f"{shown[:MOST_TOLD]}…"


def put_aside(channel: Any, tags: Iterable[str], reason: str) -> int:
    """
    Put the unacked messages of *tags* aside for *reason*; return how many it was.

    What this worker does not hold any more is left to whoever does. If the list
    cannot be used they stay unacked, and are tried again after the visibility
    time-out.

    Raises:
        One of the connection's errors.
    """
    client, (unacked, times) = channel.bare_client(), channel.unacked_keys()
    key = channel.unreadable_key
    arguments: list[Any] = [key, reasons_key_of(key)]
    shown = []
    for tag in tags:
        entry = client.hget(unacked, tag)
        if entry is None:
            continue
        message = taken(entry)
        text = message.text if message else entry
        about = {
            "reason": reason[: 5 * MOST_TOLD],
            "list": message.list if message else "",
            "at": time(),
            "node": holder.node(),
            "pid": os.getpid(),
        }
        arguments.extend((tag, _sha1(entry), text, _sha1(text), json.dumps(about)))
        shown.append((message.list if message else "", text))
    if not shown:
        return 0
    problems, moved = UNREADABLE.run(client, (unacked, times), arguments)
    for name, text in shown:
        logger.error(
            "a message of %s cannot be delivered and is %s: %s: %s",
            *(f"the queue {told(name)}" if name else "some queue",),
            f"kept in the list {key}"
            if not problems
            else f"unacked still, as {key} cannot be used",
            *(told(reason), told(text)),
        )
    if problems:
        channel.problems.optional(*map(bytes_to_str, problems[:2]))
    return len(moved)


def _sha1(text: bytes) -> str:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()
