"""How a dead letter is shown: whole, and with nothing in it run or decoded but JSON."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from task_server.transport.store.dead_letters import LAST, DeadLetter, body_of

#: Characters of one value, and crashes of one task, that a list shows.
MOST_SHOWN = 200
MAX_CRASHES = 20


def described(one: DeadLetter) -> dict[str, Any]:
    """Return all that is known of *one*, for JSON; times are seconds since 1970."""
    payload = _payload(one)
    args, kwargs = arguments(payload)
    return {
        "id": one.id,
        "task": one.task,
        "queue": one.queue,
        "reason": one.reason,
        "at": one.at,
        "args": args,
        "kwargs": kwargs,
        "headers": _object(payload.get("headers")),
        "content_type": payload.get("content-type"),
        "deaths": list(one.crashes),
        "delivery_tag": one.tag,
        "lists": list(one.lists),
        "message": one.text,
    }


def arguments(payload: dict[str, Any]) -> tuple[Any, Any]:
    """
    Return the arguments of a message: as its sender has described them, or as its JSON says.

    None for those of which neither is there, such as pickled ones of protocol 1.
    """
    headers = _object(payload.get("headers"))
    body = body_of(payload)
    if isinstance(body, list) and len(body) > 1:
        found = body[0], body[1]
    elif isinstance(body, dict):
        found = body.get("args"), body.get("kwargs")
    else:
        found = None, None
    args, kwargs = (headers.get(name) for name in ("argsrepr", "kwargsrepr"))
    return args or found[0], kwargs or found[1]


def lines(one: DeadLetter, most: int | None = MOST_SHOWN) -> Iterator[str]:
    """Yield what a terminal shows of *one*; of each value *most* characters, None is all."""
    payload = _payload(one)
    yield f"{shown(one.id or one.tag, None)}  {shown(one.task, None)}"
    queue, reason = shown(one.queue, None), shown(one.reason, None)
    yield f"  put aside  {when(one.at)} from the queue {queue}: {reason}"
    for name, value in zip(("args", "kwargs"), arguments(payload), strict=True):
        yield f"  {name:9}  {shown(value, most)}"
    for crash in one.crashes[: None if most is None else MAX_CRASHES]:
        yield f"  death      {_crash(crash)}"
    if most is None:
        for name, value in _object(payload.get("headers")).items():
            yield f"  header     {shown(name, None)}: {shown(value, None)}"
        yield f"  goes to    {', '.join(shown(name, None) for name in one.lists) or '?'}"


def _crash(crash: Any) -> str:
    suspects = crash.get("suspects")
    if crash.get("certain"):
        among = ", certainly of it"
    elif isinstance(suspects, int) and suspects > 1:
        among = f", of it or {suspects - 1} others"
    else:
        among = ""
    node, pid, reason = (shown(crash.get(name)) for name in ("node", "pid", "reason"))
    return f"{when(crash.get('at'))} {node} (pid {pid}): {reason}{among}"


def shown(value: Any, most: int | None = MOST_SHOWN) -> str:
    """Return *value* for a terminal: anybody who can write to Redis can forge it."""
    text = "?" if value is None else str(value)
    if most is not None and len(text) > most:
        text = f"{text[:most]}…"
    return "".join(one if one.isprintable() else "?" for one in text)


def when(seconds: Any) -> str:
    """Return the time *seconds* after 1970; '?' if it is none."""
    if not isinstance(seconds, int | float) or not 0 <= seconds < LAST:
        return "?"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}"


def _payload(one: DeadLetter) -> dict[str, Any]:
    try:
        return _object(json.loads(one.text))
    except (ValueError, RecursionError):
        return {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
