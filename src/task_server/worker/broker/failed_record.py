"""
What is kept of a failed task: text of bounded length, without secrets, and its message.

A task may have any arguments, and fail with any exception: one whose text cannot be made, or
has megabytes. None of it may fail here, or take long.
"""

import json
import os
from itertools import islice
from typing import Any, Final, NamedTuple

from task_server.producer.stamp import sent_at
from task_server.settings.mask import (
    MASK,
    is_secret,
    masked_repr,
    may_have_passwords,
    without_passwords,
)
from task_server.transport.store.failed_tasks import LARGEST, name_of
from task_server.transport.store.keys import Keys
from task_server.transport.store.owner import node_name

#: Characters of the arguments, of what an exception says, of a traceback and of its lines.
MOST_ARGUMENTS: Final = 1000
MOST_REASON: Final = 2000
MOST_TRACEBACK: Final = 16_000
MOST_LINE: Final = 500

#: Items of one collection, characters of one value, and depth, that are shown.
MOST_ITEMS: Final = 50
MOST_VALUE: Final = 500
MOST_DEPTH: Final = 4

#: No pid of Linux is as large.
MOST_PID: Final = 1 << 23

#: What of a message, as it was delivered, is not its own.
_OURS: Final = ("taken_from", "deaths")

#: Texts that are cut where a record is too large without its message, too.
_CUT: Final = ("traceback", "reason", "args", "kwargs", "id", "task", "queue", "error", "tag")


class Error(NamedTuple):
    """What a task failed with: the exception, its type if another one stands for it, and where."""

    exception: BaseException
    kind: Any = None
    traceback: str = ""


def record_of(request: Any, error: Error, keys: Keys) -> tuple[str, str]:
    """Return the name and the record of the task of *request*, which failed with *error*."""
    message = request.message
    raw = getattr(message, "_raw", None) or {}
    headers = request.request_dict
    list_key = raw.get("taken_from")
    id_, tag = str(request.id), str(message.delivery_tag)
    retries = headers.get("retries")
    record = {
        "id": id_,
        "task": str(request.task.name),
        "queue": keys.queue_of(list_key) if list_key else "",
        "args": _arguments(headers.get("argsrepr"), request.args),
        "kwargs": _arguments(headers.get("kwargsrepr"), request.kwargs),
        "error": _type_of(error),
        "reason": _cut_lines(_said_by(error.exception), MOST_REASON),
        "traceback": _cut_lines(str(error.traceback or ""), MOST_TRACEBACK),
        "node": node_name(),
        "pid": _pid_of(request),
        "sent": sent_at(raw),
        "started": request.time_start,
        "tries": retries + 1 if isinstance(retries, int) else None,
        "tag": tag,
        "lists": [list_key] if list_key else [],
    }
    return name_of(id_, tag), _written(record, raw)


def _pid_of(request: Any) -> int:
    # Under gevent Celery has the number of a thread there.
    pid = request.worker_pid
    return pid if isinstance(pid, int) and 0 < pid < MOST_PID else os.getpid()


def _written(record: dict[str, Any], raw: dict[str, Any]) -> str:
    """Return *record* as JSON, with the message *raw* if both are small enough."""
    body = raw.get("body")
    size = len(body) if isinstance(body, str | bytes) else 0
    if size < LARGEST:
        text = json.dumps({name: value for name, value in raw.items() if name not in _OURS})
        written = json.dumps({**record, "text": text})
        if len(written) <= LARGEST:
            return written
        size = len(text)
    record["size"] = size
    written, most = json.dumps(record), MOST_TRACEBACK
    while len(written) > LARGEST:
        most //= 2
        written = json.dumps({**record, **{one: record[one][-most:] for one in _CUT}})
    return written


def _type_of(error: Error) -> str:
    """Return the type of the exception, with its module unless it is Python's own."""
    kind = error.kind if isinstance(error.kind, type) else type(error.exception)
    module, name = kind.__module__, kind.__qualname__
    # Celery's stand-in for an exception that cannot be pickled.
    wrapped = getattr(error.exception, "exc_cls_name", None)
    if isinstance(wrapped, str):
        module, name = str(getattr(error.exception, "exc_module", "")), wrapped
    full = name if module in ("builtins", "") else f"{module}.{name}"
    return full[:MOST_VALUE]


def _said_by(exception: BaseException) -> str:
    try:
        return str(exception)
    except Exception as error:  # noqa: BLE001 - whatever the project's own `__str__` raises
        return f"<its text cannot be made: {type(error).__name__}>"


def _cut_lines(text: str, most: int) -> str:
    """Return the end of *text*, and some of its beginning, without passwords."""
    if len(text) > most:
        first = most // 4
        left_out = f"\n… {len(text) - most} characters are left out …\n"
        text = f"{text[:first]}{left_out}{text[first - most :]}"
    lines = [
        line if len(line) <= MOST_LINE else f"{line[:MOST_LINE]}…" for line in text.split("\n")
    ]
    if may_have_passwords(text):
        # Line by line: the patterns are slow in long ones.
        lines = list(map(without_passwords, lines))
    return "\n".join(lines)


def _arguments(written: Any, values: Any) -> str:
    """Return arguments as text: as their sender wrote them, who may hide some, else as they are."""
    if isinstance(written, str) and written:
        return masked_repr(written[:MOST_ARGUMENTS])
    try:
        return repr(_plain(values))[:MOST_ARGUMENTS]
    except Exception as error:  # noqa: BLE001 - objects of the project, unpickled
        return f"<they cannot be shown: {type(error).__name__}>"


class _Written(str):
    """Text that is its own repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a copy of *value* that can be written at once: small, plain, without secrets."""
    if isinstance(value, dict | list | tuple):
        return _collection(value, depth + 1) if depth < MOST_DEPTH else _Written("…")
    if isinstance(value, str):
        return without_passwords(value[:MOST_VALUE])
    if isinstance(value, bytes):
        return value[:MOST_VALUE]
    if isinstance(value, int) and value.bit_length() > MOST_VALUE:
        return _Written(f"<a number of {value.bit_length()} bits>")
    return _Written(without_passwords(repr(value)[:MOST_VALUE]))


def _collection(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return {
            _plain(key, depth): MASK
            if is_secret(str(key)[:MOST_VALUE]) and not _is_plain_to_see(item)
            else _plain(item, depth)
            for key, item in islice(value.items(), MOST_ITEMS)
        }
    items = [_plain(item, depth) for item in islice(value, MOST_ITEMS)]
    return tuple(items) if isinstance(value, tuple) else items


def _is_plain_to_see(value: Any) -> bool:
    """Whether *value* reveals no secret, whatever its name is."""
    return value is None or isinstance(value, bool) or (isinstance(value, str) and not value)
