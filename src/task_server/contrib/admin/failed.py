"""Failed tasks, as they are in Redis and as a page shows them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from task_server.contrib.admin.text import clock, link, moment, short, visible
from task_server.monitor import Snapshot
from task_server.transport.store import dead_letters
from task_server.transport.store.dead_letters import DeadLetter
from task_server.transport.store.keys import Keys


@dataclass(frozen=True, slots=True)
class Row:
    """
    A failed task.

    Attributes:
        key: The name of its record.

        seconds: When it failed, since 1970.

        is_whole: Whether it can be retried.
    """

    failure: DeadLetter
    key: str
    url: str
    task: str
    id: str
    queue: str
    queue_url: str
    reason: str
    error: str
    args: str
    kwargs: str
    seconds: float
    when: str
    at: datetime | None
    tries: int
    worker: str
    is_whole: bool


def all_of(client: Any, keys: Keys, _: Snapshot) -> list[DeadLetter]:
    """Return the failed tasks."""
    return dead_letters.all_of(client, keys.dead_letters)


def retry(client: Any, keys: Keys, rows: Iterable[Row]) -> int:
    """Put *rows* back into their queues; return how many were still there."""
    return dead_letters.retry(client, keys.dead_letters, [row.failure for row in rows])


def drop(client: Any, keys: Keys, rows: Iterable[Row]) -> int:
    """Delete *rows* for good; return how many were still there."""
    return dead_letters.drop(client, keys.dead_letters, [row.failure for row in rows])


def row_of(site: Any, one: DeadLetter, now: float) -> Row:
    """Return *one* as a page of *site* shows it."""
    args, kwargs = _arguments(one)
    last = one.crashes[-1] if one.crashes else {}
    return Row(
        failure=one,
        key=one.tag,
        url=link(site, "failedtask", one.tag),
        task=short(one.task),
        id=short(one.id),
        queue=short(one.queue),
        queue_url=link(site, "queue", one.queue),
        reason=short(one.reason),
        error=short(last.get("reason") or one.reason),
        args=visible(args),
        kwargs=visible(kwargs),
        seconds=one.at,
        when=clock(one.at, now),
        at=moment(one.at),
        tries=len(one.crashes),
        worker=short(last.get("node")),
        is_whole=one.is_whole,
    )


def _arguments(one: DeadLetter) -> tuple[Any, Any]:
    """Return the arguments: as its sender described them, or of its JSON; nothing else is read."""
    try:
        payload = json.loads(one.text)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(payload, dict):
        return "", ""
    headers = payload.get("headers")
    headers = headers if isinstance(headers, dict) else {}
    body = dead_letters.body_of(payload)
    args, kwargs = body[:2] if isinstance(body, list) and len(body) > 1 else ("", "")
    return headers.get("argsrepr") or args, headers.get("kwargsrepr") or kwargs
