"""How a failed task is printed: nothing in it is executed, and only JSON is decoded."""

from collections.abc import Iterator
from typing import Any

from task_server.cli import dead_shown
from task_server.cli.dead_shown import MAX_CHARACTERS, shown, when
from task_server.monitor.failure import Failure
from task_server.transport.store.dead_letters import DeadLetter
from task_server.transport.store.failed_tasks import FailedTask


def described(one: Failure, *, whole: bool = False) -> dict[str, Any]:
    """Return the fields of *one*, for JSON; the *whole* has its message, which may have secrets."""
    if isinstance(one.kept, DeadLetter):
        return dead_shown.described(one.kept)
    found = {
        "id": one.id,
        "task": one.task,
        "queue": one.queue,
        "reason": one.reason,
        "at": one.at,
        "args": one.args,
        "kwargs": one.kwargs,
        "error": one.error,
        "text": one.text,
        "traceback": one.traceback,
        "worker": one.worker,
        "pid": one.pid,
        "sent": one.sent,
        "started": one.started,
        "tries": one.tries,
        "has_message": one.has_message,
        "key": one.key,
    }
    if whole:
        headers = one.payload.get("headers")
        found |= {"headers": headers if isinstance(headers, dict) else {}, "message": one.message}
    return found


def lines(one: Failure, *, whole: bool = False) -> Iterator[str]:
    """Yield the lines for *one*; the *whole* has its traceback and its headers."""
    kept = one.kept
    most = None if whole else MAX_CHARACTERS
    if isinstance(kept, DeadLetter):
        yield from dead_shown.lines(kept, most)
        return
    yield f"{shown(one.id or one.key, None)}  {shown(one.task, None)}"
    tried = f", try {one.tries}" if one.tries else ""
    yield f"  failed     {when(one.at)} from the queue {shown(one.queue, None)}{tried}"
    yield f"  error      {shown(_error(one), most)}"
    yield f"  args       {shown(one.args, most)}"
    yield f"  kwargs     {shown(one.kwargs, most)}"
    if whole:
        yield from _rest(one, kept)


def _error(one: Failure) -> str:
    first = one.text.partition("\n")[0]
    return f"{one.error}: {first}" if first else one.error


def _rest(one: Failure, kept: FailedTask) -> Iterator[str]:
    yield f"  sent       {when(one.sent)}"
    yield f"  started    {when(one.started)}"
    yield f"  worker     {shown(one.worker, None)} (pid {one.pid or '?'})"
    if "\n" in one.text:
        yield from (f"  says       {shown(line, None)}" for line in one.text.split("\n"))
    for line in one.traceback.rstrip().split("\n") if one.traceback else ():
        yield f"  traceback  {shown(line, None)}"
    headers = one.payload.get("headers")
    for name, value in headers.items() if isinstance(headers, dict) else ():
        if name not in ("argsrepr", "kwargsrepr"):
            yield f"  header     {shown(name, None)}: {shown(value, None)}"
    if kept.is_whole:
        yield f"  goes to    {', '.join(shown(name, None) for name in kept.lists)}"
    else:
        size = f", of {kept.size >> 10} KiB" if kept.size else ""
        yield f"  message    is not kept{size}: it cannot be retried"
