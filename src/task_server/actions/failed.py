"""
Failed tasks and dead letters are sent again, or dropped.

A message is sent as it was, under its id: with its arguments, its chain, chord and errbacks,
and its number of retries, so that one retry is one more try. Only the time at which it was
sent is new, where its producer had written one. What cannot be sent stays, with the reason.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from task_server.actions import audit
from task_server.monitor.failure import Failure
from task_server.producer.stamp import HEADER, stamped
from task_server.transport.store import dead_letters, failed_tasks
from task_server.transport.store.dead_letters import DeadLetter
from task_server.transport.store.failed_tasks import FailedTask
from task_server.transport.store.keys import Keys

#: Ids that the audit names.
FEW: Final = 5

#: Why one is not sent again.
NO_MESSAGE: Final = "no message is kept"
BUSY: Final = "a worker has its message still"
EXPIRED: Final = "it expired at {}: a worker would discard it"


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of failures.

    Attributes:
        done: How many were sent, or dropped.

        refused: Those that stay, each with the reason.

        gone: How many were not there any more.
    """

    done: int
    refused: tuple[tuple[Failure, str], ...] = ()
    gone: int = 0


def retry(
    client: Any,
    keys: Keys,
    failures: Iterable[Failure],
    who: str,
    *,
    expired: bool = False,
) -> Outcome:
    """
    Send the messages of *failures* again; each is forgotten once its message is in its queue.

    Args:
        client: A Redis client that adds no prefix.

        who: The operator, as the audit names them.

        expired: Send those that have expired, too, without the time of that.

    Raises:
        RedisError: When Redis does not answer, or refuses.
    """
    tasks: list[tuple[Failure, FailedTask, str]] = []
    letters: list[DeadLetter] = []
    refused: list[tuple[Failure, str]] = []
    now = float(client.time()[0])
    every = list(failures)
    for one in every:
        kept = one.kept
        reason = _reason(one, now, expired=expired)
        if reason:
            refused.append((one, reason))
        elif isinstance(kept, DeadLetter):
            letters.append(replace(kept, text=_text(one)))
        else:
            tasks.append((one, kept, _text(one)))
    moved = failed_tasks.retry(client, keys, [(kept, text) for _, kept, text in tasks])
    again = dead_letters.retry(client, keys.dead_letters, letters)
    for one, kept, _ in tasks:
        problem = moved.problems.get(kept.lists[0])
        if one.key in moved.busy:
            refused.append((one, BUSY))
        elif one.key not in moved.done and problem:
            refused.append((one, problem))
    done, stay = len(moved.done) + again, {one.key for one, _ in refused}
    sent = [one for one in every if one.key not in stay]
    _record(client, keys, sent, who, f"failed retry: {done} sent")
    return Outcome(done, tuple(refused), len(sent) - done)


def drop(client: Any, keys: Keys, failures: Iterable[Failure], who: str) -> Outcome:
    """
    Forget *failures* for good.

    Args, Raises:
        As above.
    """
    every = list(failures)
    tasks = [one.kept for one in every if isinstance(one.kept, FailedTask)]
    letters = [one.kept for one in every if isinstance(one.kept, DeadLetter)]
    done = len(failed_tasks.drop(client, keys, tasks).done)
    done += dead_letters.drop(client, keys.dead_letters, letters)
    _record(client, keys, every, who, f"failed drop: {done} dropped")
    return Outcome(done, gone=len(every) - done)


def is_chord_part(one: Failure) -> bool:
    """
    Return whether *one* was a part of a chord.

    Its chord has failed with it, or will: the part runs again, and the body does not, unless
    all parts had failed and all are retried.
    """
    headers = one.payload.get("headers")
    body = dead_letters.body_of(one.payload)
    embedded = body[2] if isinstance(body, list) and len(body) > 2 else None  # noqa: PLR2004
    return any(isinstance(found, dict) and found.get("chord") for found in (headers, embedded))


def _reason(one: Failure, now: float, *, expired: bool) -> str:
    """Return why *one* cannot be sent again; '' if it can."""
    if not one.has_message:
        kept = one.kept
        size = kept.size if isinstance(kept, FailedTask) else None
        return f"{NO_MESSAGE}: it is too large ({size >> 10} KiB)" if size else NO_MESSAGE
    at = None if expired else _expires(one)
    return EXPIRED.format(f"{at:%Y-%m-%d %H:%M:%SZ}") if at and at.timestamp() < now else ""


def _expires(one: Failure) -> datetime | None:
    headers = one.payload.get("headers")
    value = headers.get("expires") if isinstance(headers, dict) else None
    try:
        found = datetime.fromisoformat(str(value))
        # Without an offset Celery takes it for UTC.
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _text(one: Failure) -> str:
    """Return the message of *one* as it is sent now."""
    payload = dict(one.payload)
    headers = payload.get("headers")
    if not isinstance(headers, dict):
        return one.message
    headers = dict(headers)
    expires = _expires(one)
    if expires is not None and expires.timestamp() < time.time():
        headers["expires"] = None
    if HEADER in headers:
        # Otherwise it would look as if it had waited since then.
        headers = stamped(headers, headers.get("retries"))
    return json.dumps({**payload, "headers": headers})


def _record(client: Any, keys: Keys, every: Sequence[Failure], who: str, action: str) -> None:
    if not every:
        return
    names = ", ".join(f"{one.task}[{one.id}]" for one in every[:FEW])
    more = f" and {len(every) - FEW} more" if len(every) > FEW else ""
    audit.record(client, keys, who, action, f"{names}{more}")
