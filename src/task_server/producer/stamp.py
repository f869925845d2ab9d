"""
When a message was sent: a header that the producer adds, and any reader understands.

The header `task-server-sent` is `[seconds, retries]`: seconds since 1970 (UTC, a float) and the
`retries` of the task at that send. Celery copies headers that it does not know to the
next try of a task; with another number of retries the stamp is that of an earlier send, and does
not count. sentry-sdk has a header of its own, which counts as ours does.
"""

import time
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

#: The header of ours.
HEADER: Final = "task-server-sent"

#: The header of sentry-sdk (2.4 and later): seconds since 1970, a float.
SENTRY_HEADER: Final = "sentry-task-enqueued-time"

#: Its parts.
_PARTS: Final = 2

#: One of Sentry's that is older was copied from an earlier try. In seconds.
FRESH: Final = 10.0


def stamped(headers: Mapping[str, Any] | None, retries: Any) -> dict[str, Any]:
    """
    Return *headers* of a message that is sent now, with the time.

    Where sentry-sdk has just stamped them, they are left as they are.

    Args:
        retries: The task's retries so far.
    """
    marked = dict(headers) if headers else {}
    now = time.time()
    theirs = _seconds(marked.get(SENTRY_HEADER))
    if theirs is not None and abs(now - theirs) < FRESH:
        marked.pop(HEADER, None)
    else:
        marked[HEADER] = [now, retries if isinstance(retries, int) else 0]
    return marked


def sent_at(message: Mapping[str, Any]) -> float | None:
    """
    Return when *message* was sent, in seconds since 1970; None if it does not say so.

    A message that was redelivered, or waits for its ETA, was sent when its producer sent it.

    Args:
        message: A message as it lies in Redis, decoded from JSON, or anything with its `headers`.
            Whatever is wrong with it, nothing is raised.
    """
    headers = message.get("headers") if isinstance(message, Mapping) else None
    return sent_in(headers) if isinstance(headers, Mapping) else None


def sent_in(headers: Mapping[str, Any]) -> float | None:
    """Return the same of the *headers* of a message."""
    own, given = headers.get(HEADER), headers.get(SENTRY_HEADER)
    if own is None and given is None:
        return None
    ours, theirs = None, _seconds(given)
    # A message of protocol 1 has its retries in the body.
    if (
        isinstance(own, list | tuple)
        and len(own) == _PARTS
        and own[1] == headers.get("retries", own[1])
    ):
        ours = _seconds(own[0])
    found = [seconds for seconds in (ours, theirs) if seconds is not None]
    return max(found, default=None)


def _seconds(value: Any) -> float | None:
    """Return *value* if it can be a time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if isfinite(seconds) and seconds > 0 else None
