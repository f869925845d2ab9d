"""
Messages that cannot be delivered: kept in a list, each with the reason beside it.

The list has the messages unchanged, newest first: pushed back to a queue, one is
as it was before. A hash has the reasons, by the SHA-1 of the message:
JSON with `reason`, `list` (where it was), `at` (seconds since 1970), and `node`
and `pid` of the worker that moved it.

While the list cannot be used such a message stays in the hash of unacked
messages, in a field that starts with `unreadable:`, and goes to the list later.
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

from task_server.transport.store import owner
from task_server.transport.store.client import Store
from task_server.transport.store.entry import original_of
from task_server.transport.store.excerpt import MAX_EXCERPT, excerpt
from task_server.transport.store.keys import Keys
from task_server.transport.store.portions import BYTES, SCANNED_FIRST, portions, scanned
from task_server.transport.store.rights import is_refusal
from task_server.transport.store.scripts import UNREADABLE

logger: Final = logging.getLogger(__name__)

#: How the fields start among the unacked messages that wait for the list.
FIELD: Final = "unreadable:"

#: What the fetch writes behind the message there; version 0.1 wrote the second.
_ABOUT: Final = b', "unreadable":{'
_NOTHING: Final = b", null, null]"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One message that cannot be read; without a reason if version 0.1 moved it."""

    text: bytes
    reason: str = ""
    list: str = ""
    at: float = 0.0
    node: str = ""
    pid: int = 0


def count(client: Any, keys: Keys) -> int:
    """
    Return how many messages cannot be read, with those that wait to get to the list.

    *client* is a Redis client that adds no prefix, here and below.

    Raises:
        ResponseError: When they cannot be counted.
    """
    waiting = sum(len(page) for page in _waiting(client, keys.unacked))
    try:
        return int(client.llen(keys.unreadable)) + waiting
    except ResponseError:
        if not waiting:
            raise
        return waiting


def _waiting(client: Any, unacked: str) -> Iterator[dict[bytes, bytes]]:
    """Return the fields of the hash *unacked* that wait for the list, some at a time."""
    for page in scanned(client, unacked, match=f"{FIELD}*"):
        for portion in portions(page.items(), lambda field: len(field[1])):
            yield dict(portion)


def gather(store: Store) -> bool:
    """
    Move what waits among the unacked messages into the list; return whether nothing waits now.

    While the list cannot be used that is logged once, and nothing is read.

    Raises:
        One of the connection's errors.
    """
    keys, count, is_done = store.keys, 0, False
    try:
        store.client.llen(keys.unreadable)
        for page in _waiting(store.client, keys.unacked):
            arguments: list[Any] = [keys.unreadable, keys.unreadable_reasons]
            for tag, entry in page.items():
                text, about = _split(entry)
                arguments.extend((tag, _sha1(entry), text, _sha1(text), about))
            problems, moved = UNREADABLE.run(store.client, keys.unacked_and_times, arguments)
            count += len(moved)
            if problems:
                store.problems.optional(*map(bytes_to_str, problems[:2]))
                break
        else:
            is_done = True
    except ResponseError as error:
        if not (is_refusal(error) or "WRONGTYPE" in str(error)):
            raise
        store.problems.optional(keys.unreadable, str(error))
    if count:
        logger.warning(
            "%d messages that cannot be read, and waited in the hash %s, are in the list %s",
            *(count, keys.unacked, keys.unreadable),
        )
    return is_done


def _split(entry: bytes) -> tuple[bytes, bytes]:
    """Return the message of *entry* as it was, and what is known about it: JSON."""
    start = entry.rfind(_ABOUT)
    if start >= 0 and entry.endswith(b"}]"):
        return entry[1:start], entry[start + len(_ABOUT) - 1 : -1]
    about = b'{"reason": "it could not be read: see the log of the worker that took it"}'
    return entry[1:].removesuffix(_NOTHING), about


def newest(client: Any, keys: Keys, most: int = 1000) -> list[Unreadable]:
    """Return the *most* newest messages."""
    texts: list[bytes] = []
    step = SCANNED_FIRST
    while len(texts) < most:
        step = min(step, most - len(texts))
        page = client.lrange(keys.unreadable, len(texts), len(texts) + step - 1)
        texts.extend(page)
        if len(page) < step:
            break
        step = step * 2 if sum(map(len, page)) < BYTES else max(1, step // 2)
    if not texts:
        return []
    reasons = client.hmget(keys.unreadable_reasons, [_sha1(text) for text in texts])
    return [_described(text, about) for text, about in zip(texts, reasons, strict=True)]


def _described(text: bytes, about: bytes | None) -> Unreadable:
    try:
        found = json.loads(about or b"{}")
        return Unreadable(
            text,
            *(str(found.get("reason", "")), str(found.get("list", "")), float(found.get("at", 0))),
            *(str(found.get("node", "")), int(found.get("pid", 0))),
        )
    except (ValueError, TypeError, AttributeError):
        # Anyone can write there.
        return Unreadable(text)


def move(store: Store, tags: Iterable[str], reason: str) -> int:
    """
    Move the unacked messages of *tags* to the list for *reason*; return how many were moved.

    A message that this worker no longer owns is left to its owner. If the list cannot
    be used they stay unacked, and are retried after the visibility timeout.

    Raises:
        One of the connection's errors.
    """
    keys = store.keys
    arguments: list[Any] = [keys.unreadable, keys.unreadable_reasons]
    shown = []
    for tag in tags:
        entry = store.client.hget(keys.unacked, tag)
        if entry is None:
            continue
        original = original_of(entry)
        text, name = original or (entry, "")
        about = {
            "reason": reason[: 5 * MAX_EXCERPT],
            "list": name,
            "at": time(),
            "node": owner.node_name(),
            "pid": os.getpid(),
        }
        arguments.extend((tag, _sha1(entry), text, _sha1(text), json.dumps(about)))
        shown.append((name, text))
    if not shown:
        return 0
    problems, moved = UNREADABLE.run(store.client, keys.unacked_and_times, arguments)
    for name, text in shown:
        logger.error(
            "a message of %s cannot be delivered and is %s: %s: %s",
            *(f"the queue {excerpt(name)}" if name else "some queue",),
            f"kept in the list {keys.unreadable}"
            if not problems
            else f"unacked still, as {keys.unreadable} cannot be used",
            *(excerpt(reason), excerpt(text)),
        )
    if problems:
        store.problems.optional(*map(bytes_to_str, problems[:2]))
    return len(moved)


def log_found(keys: Keys, queue: str, field: str, text: bytes, reason: str) -> None:
    """Log a message of *queue* that the fetch could not read; in *field* of the unacked, if any."""
    where = (
        f"the hash {keys.unacked}, field {field}, since the list {keys.unreadable} cannot be used"
        if field
        else f"the list {keys.unreadable}"
    )
    logger.error(
        "a message of the queue %s cannot be read and is kept in %s: %s: %s",
        *(excerpt(queue), where, excerpt(reason), excerpt(text)),
    )


def _sha1(text: bytes) -> str:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()
