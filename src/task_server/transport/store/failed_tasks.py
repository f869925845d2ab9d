"""
Failed tasks: those whose retries ran out, or that failed without any, as far as they are kept.

A hash of records by name, a sorted set of the same names by when each failed (seconds since
1970, by the server's clock), and a hash about both. A name is a task's id, a space, and the
delivery tag of its message. A record is JSON, and none of its fields is needed to read it:

    at                              when it failed
    id, task, queue                 of the message
    args, kwargs                    as text, of bounded length, without secrets
    error, reason, traceback        the type of the exception, what it says, and where
    node, pid                       the worker, and the process that ran it
    sent, started                   seconds since 1970, where they are known
    tries                           how often it was tried
    tag, lists, text                to send its message again, as it was
    size                            bytes of a message that is too large to be kept

Dead letters, which crashed their workers or are registered nowhere, are kept apart
(`dead_letters`): these have not run to an end, and no flood of failures may drop them.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from task_server.transport.store.dead_letters import LAST
from task_server.transport.store.keys import Keys
from task_server.transport.store.portions import portions
from task_server.transport.store.scripts import KEEP_FAILED, REDRIVE_FAILED

#: Records that one command reads; each may have `LARGEST` bytes.
PORTION: Final = 50

#: Bytes of one record: with a larger message it is kept without.
LARGEST: Final = 64 * 1024

#: Characters of an id, or a delivery tag, in a name: anyone can write a longer one.
LONGEST: Final = 255


class Limits(NamedTuple):
    """
    What is kept of failed tasks.

    Attributes:
        number: So many; 0 keeps none.

        seconds: For so long; 0 keeps none.

        bytes: So many of all records; 0 keeps none.
    """

    number: int
    seconds: float
    bytes: int

    def __bool__(self) -> bool:
        """Whether any are kept."""
        return bool(self.number and self.seconds and self.bytes)


class Moved(NamedTuple):
    """
    What became of failed tasks that were to be retried, or dropped, by name.

    Attributes:
        done: Those that were; what is in none of the three was not there any more.

        busy: Those whose messages a worker still has: they would run twice.

        problems: What Redis said of those that stay, by list.
    """

    done: frozenset[str]
    busy: frozenset[str]
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTask:
    """One failed task; see the module for the fields."""

    name: str
    at: float
    id: str
    task: str
    queue: str
    args: str
    kwargs: str
    error: str
    reason: str
    traceback: str
    node: str
    pid: int | None
    sent: float | None
    started: float | None
    tries: int | None
    tag: str
    lists: tuple[str, ...]
    text: str
    size: int | None
    record: bytes

    @classmethod
    def read(cls, name: str, record: bytes) -> "FailedTask":
        """Return the task of *record*, as far as it can be read: anyone can write one."""
        try:
            values = json.loads(record)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            values = {}
        lists = values.get("lists")
        texts = ("task", "queue", "args", "kwargs", "error", "reason", "traceback", "node", "text")
        return cls(
            name=name,
            record=record,
            id=_text(values, "id") or name.partition(" ")[0],
            tag=_text(values, "tag") or name.partition(" ")[2],
            at=_time(values, "at") or 0.0,
            sent=_time(values, "sent"),
            started=_time(values, "started"),
            pid=_number(values, "pid"),
            tries=_number(values, "tries"),
            size=_number(values, "size"),
            lists=tuple(map(str, lists)) if isinstance(lists, list) else (),
            **{one: _text(values, one) for one in texts},
        )

    @property
    def is_whole(self) -> bool:
        """Whether the record is complete enough to send its message again."""
        return bool(self.lists and self.text)


def name_of(id_: str, tag: str) -> str:
    """Return the name of a failed task."""
    return f"{id_[:LONGEST]} {tag[:LONGEST]}"


def keep(client: Any, keys: Keys, limits: Limits, records: Iterable[tuple[str, str]]) -> None:
    """
    Keep *records*, and drop the oldest beyond *limits*.

    Args:
        client: A Redis client that adds no prefix, here and below.

        records: Each with its name: JSON, an object with at least one field.

    Raises:
        RedisError: When Redis does not answer, or refuses; nothing is changed then.
    """
    named = (keys.failed, keys.failed_times, keys.failed_about)
    bounds = (limits.number, limits.seconds, limits.bytes)
    for portion in portions(records, lambda one: len(one[1])):
        arguments = [text for name, record in portion for text in (name, record.partition("{")[2])]
        KEEP_FAILED.run(client, named, (*bounds, *arguments))


def count(client: Any, keys: Keys) -> int:
    """Return how many are kept; one short call."""
    return int(client.hlen(keys.failed))


def names(client: Any, keys: Keys) -> list[tuple[str, float]]:
    """Return the names of all, and when each failed, the oldest first."""
    found = client.zrange(keys.failed_times, 0, -1, withscores=True)
    return [
        (name.decode("utf-8", "surrogateescape"), at if 0 <= at < LAST else 0.0)
        for name, at in found
    ]


def read(client: Any, keys: Keys, wanted: Sequence[str]) -> Iterator[FailedTask]:
    """Return the failed tasks of the names *wanted*, in that order; those that are gone are not."""
    for first in range(0, len(wanted), PORTION):
        portion = wanted[first : first + PORTION]
        fields = [name.encode("utf-8", "surrogateescape") for name in portion]
        for name, record in zip(portion, client.hmget(keys.failed, fields), strict=True):
            if record is not None:
                yield FailedTask.read(name, record)


def retry(client: Any, keys: Keys, tasks: Iterable[tuple[FailedTask, str]]) -> Moved:
    """
    Send the messages of *tasks*, each with the text to send, and forget the tasks.

    Each is forgotten once its message is in its list, and sent once, whoever else retries it.
    """
    return _redrive(client, keys, [(one, one.lists[0], text) for one, text in tasks])


def drop(client: Any, keys: Keys, tasks: Iterable[FailedTask]) -> Moved:
    """Forget *tasks*."""
    return _redrive(client, keys, [(one, "", "") for one in tasks])


def _redrive(client: Any, keys: Keys, steps: Iterable[tuple[FailedTask, str, str]]) -> Moved:
    done: set[str] = set()
    busy: set[str] = set()
    problems: dict[str, str] = {}
    named = (keys.failed, keys.failed_times, keys.failed_about, keys.unacked)
    for portion in portions(steps, lambda step: len(step[2])):
        arguments: list[str | bytes] = []
        for one, list_key, text in portion:
            sha = hashlib.sha1(one.record, usedforsecurity=False).hexdigest()
            name = one.name.encode("utf-8", "surrogateescape")
            arguments += [name, sha, _encoded(one.tag), _encoded(list_key), _encoded(text)]
        went, held, refused = REDRIVE_FAILED.run(client, named, arguments)
        done.update(name.decode("utf-8", "surrogateescape") for name in went)
        busy.update(name.decode("utf-8", "surrogateescape") for name in held)
        told = [one.decode("utf-8", "replace") for one in refused]
        problems.update(zip(told[::2], told[1::2], strict=True))
    return Moved(frozenset(done), frozenset(busy), problems)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return str(value) if isinstance(value, str | int | float) else ""


def _time(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < LAST else None


def _number(values: Mapping[str, Any], name: str) -> int | None:
    value = values.get(name)
    is_whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < LAST
    return value if is_whole else None
