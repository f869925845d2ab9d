"""Which messages are those of parts of a group, such as the header of a chord."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from task_server.transport.store.dead_letters import body_of

#: What the message of a part contains, and in protocol 1, whose body has it all, does not: quotes
#: inside of a body are escaped, or encoded.
_GROUP: Final = re.compile(rb'"group"\s*:\s*"')
_TASK: Final = re.compile(rb'"task"\s*:')


class Part(NamedTuple):
    """A part of a *group*: the name of its task, and its id."""

    task: str
    id: str
    group: str


def parts_of(entries: Iterable[bytes | None]) -> Iterator[Part]:
    """Yield the parts of groups among *entries* of the hash of unacked messages."""
    for entry in entries:
        # Most are none, and to decode each would double the work of a redelivery.
        if entry and (_GROUP.search(entry) or not _TASK.search(entry)):
            try:
                part = _part_of(loads(bytes_to_str(entry))[0])
            except Exception:  # noqa: BLE001, S112 - who redelivers it says what is wrong
                continue
            if part is not None:
                yield part


def _part_of(payload: dict[str, Any]) -> Part | None:
    found: Any = payload.get("headers")
    name = "group"
    if not isinstance(found, dict) or not found.get("task"):
        found, name = body_of(payload), "taskset"
    if not isinstance(found, dict):
        return None
    values = found.get("task"), found.get("id"), found.get(name)
    # Anybody can write something else there.
    if all(isinstance(value, str) and value for value in values):
        return Part(*map(str, values))
    return None
