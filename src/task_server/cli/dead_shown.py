"""How a dead letter is printed: nothing in it is executed, and only JSON is decoded."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from task_server.transport.store.dead_letters import LAST, DeadLetter, arguments

#: Characters of a value, and crashes of a task, that a list shows.
MAX_CHARACTERS = 200
MAX_CRASHES = 20


def described(letter: DeadLetter) -> dict[str, Any]:
    """Return every field of *letter*, for JSON; times are seconds since 1970."""
    payload = letter.payload
    args, kwargs = arguments(payload)
    return {
        "id": letter.id,
        "task": letter.task,
        "queue": letter.queue,
        "reason": letter.reason,
        "at": letter.at,
        "args": args,
        "kwargs": kwargs,
        "headers": _object(payload.get("headers")),
        "content_type": payload.get("content-type"),
        "deaths": list(letter.crashes),
        "delivery_tag": letter.tag,
        "lists": list(letter.lists),
        "message": letter.text,
    }


def lines(letter: DeadLetter, most: int | None = MAX_CHARACTERS) -> Iterator[str]:
    """Yield the lines for *letter*; *most* characters of each value, None means all."""
    payload = letter.payload
    yield f"{shown(letter.id or letter.tag, None)}  {shown(letter.task, None)}"
    queue, reason = shown(letter.queue, None), shown(letter.reason, None)
    yield f"  dead       {when(letter.at)} from the queue {queue}: {reason}"
    for name, value in zip(("args", "kwargs"), arguments(payload), strict=True):
        yield f"  {name:9}  {shown(value, most)}"
    for crash in letter.crashes[: None if most is None else MAX_CRASHES]:
        yield f"  crash      {_crash(crash)}"
    if most is None:
        for name, value in _object(payload.get("headers")).items():
            yield f"  header     {shown(name, None)}: {shown(value, None)}"
        yield f"  goes to    {', '.join(shown(name, None) for name in letter.lists) or '?'}"


def _crash(crash: Any) -> str:
    suspects = crash.get("suspects")
    if crash.get("certain"):
        among = ", certainly by this task"
    elif isinstance(suspects, int) and suspects > 1:
        among = f", by this task or one of {suspects - 1} others"
    else:
        among = ""
    node, pid, reason = (shown(crash.get(name)) for name in ("node", "pid", "reason"))
    return f"{when(crash.get('at'))} {node} (pid {pid}): {reason}{among}"


def shown(value: Any, most: int | None = MAX_CHARACTERS) -> str:
    """Return *value* safe for a terminal: anyone who can write to Redis can forge it."""
    text = "?" if value is None else str(value)
    if most is not None and len(text) > most:
        text = f"{text[:most]}…"
    return "".join(character if character.isprintable() else "?" for character in text)


def when(seconds: Any) -> str:
    """Return *seconds* since 1970 as a date; '?' if invalid."""
    if not isinstance(seconds, int | float) or not 0 <= seconds < LAST:
        return "?"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}"


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
