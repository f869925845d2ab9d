"""Deleting what waits in a queue, or what of it is of one task, or old."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from task_server.actions import audit
from task_server.actions.names import RefusedError
from task_server.producer.stamp import sent_at
from task_server.transport.store import delayed, sieve
from task_server.transport.store.dead_letters import task_and_id_of
from task_server.transport.store.delayed import Delayed
from task_server.transport.store.keys import Keys
from task_server.transport.store.rights import is_refusal

#: Messages that one call takes out of a list where the user may not unlink it.
PORTION = 1000


@dataclass(frozen=True, slots=True)
class Purged:
    """
    What a purge deletes, or has deleted.

    Attributes:
        waiting: Messages, by priority; those with none are left out.

        delayed: Tasks that are due later.

        ageless: Messages of which nothing says when they were sent: with *older_than* they stay.
    """

    waiting: Mapping[int, int] = field(default_factory=dict)
    delayed: int = 0
    ageless: int = 0

    @property
    def total(self) -> int:
        """All of them, without the *ageless*."""
        return sum(self.waiting.values()) + self.delayed

    def __str__(self) -> str:
        parts = [f"{sum(self.waiting.values())} waiting"]
        if len(self.waiting) > 1:
            each = ", ".join(f"{count} of priority {step}" for step, count in self.waiting.items())
            parts[0] += f" ({each})"
        return f"{', '.join(parts)}, {self.delayed} delayed"


class _Wanted:
    """Whether a message is one of *task*, and was sent before a time; None is any."""

    def __init__(self, task: str | None, before: float | None) -> None:
        self._task = task
        self._before = before
        self.ageless = 0

    @property
    def is_all(self) -> bool:
        """Whether every message is."""
        return self._task is None and self._before is None

    def waiting(self, text: bytes) -> bool:
        """Return whether the message *text* of a list is one; one that cannot be read is not."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return False
        if not isinstance(message, dict) or not self._is_of_task(message):
            return False
        return self._before is None or self._is_old(sent_at(message))

    def delayed(self, one: Delayed) -> bool:
        """Return whether a delayed task is one; without a time of its producer's by its own."""
        if self._task not in (None, one.task):
            return False
        if self._before is None:
            return True
        try:
            sent = sent_at(json.loads(one.text))
        except (ValueError, RecursionError):
            sent = None
        return self._is_old(one.since or None if sent is None else sent)

    def _is_of_task(self, message: Mapping[str, Any]) -> bool:
        return self._task is None or task_and_id_of(message)[0] == self._task

    def _is_old(self, sent: float | None) -> bool:
        if sent is None:
            self.ageless += 1
        return sent is not None and self._before is not None and sent < self._before


def count(
    client: Any,
    keys: Keys,
    queue: str,
    *,
    task: str | None = None,
    older_than: float | None = None,
) -> Purged:
    """
    Return what `purge` would delete now.

    Raises:
        RefusedError: When a list of the queue is none.
    """
    wanted = _wanted(client, task, older_than)
    try:
        if wanted.is_all:
            waiting = {step: int(client.llen(name)) for step, name in _lists(keys, queue)}
            later = delayed.counts(client, keys, [queue])[queue]
        else:
            waiting = {
                step: sieve.matching(client, name, wanted.waiting)
                for step, name in _lists(keys, queue)
            }
            later = sum(map(wanted.delayed, delayed.all_of(client, keys, queue)))
    except ResponseError as error:
        raise _refusal(queue, error) from error
    return Purged({step: n for step, n in waiting.items() if n}, later, wanted.ageless)


def purge(
    client: Any,
    keys: Keys,
    queue: str,
    who: str,
    *,
    task: str | None = None,
    older_than: float | None = None,
) -> Purged:
    """
    Delete what waits in *queue*, of all priorities, and its delayed tasks.

    What workers have stays, and what arrives meanwhile. No call keeps Redis busy for more than
    some milliseconds, however much waits. Nobody is told: results stay PENDING, and a chord
    does not end.

    Args:
        task: Only messages of this task.

        older_than: Only messages that were sent so many seconds ago.

    Raises:
        RefusedError: When a list of the queue is none, or others change it too fast.
    """
    wanted = _wanted(client, task, older_than)
    waiting: dict[int, int] = {}
    later = 0
    try:
        for step, name in _lists(keys, queue):
            if number := _delete(client, keys, name, wanted):
                waiting[step] = number
        later = _delete_delayed(client, keys, queue, wanted)
    except ResponseError as error:
        raise _refusal(queue, error) from error
    except sieve.MovedError:
        raise RefusedError(
            f"{queue!r} changes faster than it can be read: pause it, and purge it again."
        ) from None
    finally:
        done = Purged(waiting, later, wanted.ageless)
        filters = [f"--task {task}"] if task is not None else []
        filters += [f"--older-than {older_than:g}"] if older_than is not None else []
        if done.total:
            audit.record(client, keys, who, "purge", queue, detail=" ".join([f"{done};", *filters]))
    return done


def _wanted(client: Any, task: str | None, older_than: float | None) -> _Wanted:
    return _Wanted(task, None if older_than is None else float(client.time()[0]) - older_than)


def _lists(keys: Keys, queue: str) -> list[tuple[int, str]]:
    return list(zip(keys.priority_steps, keys.lists_of(queue), strict=True))


def _delete(client: Any, keys: Keys, name: str, wanted: _Wanted) -> int:
    if not wanted.is_all:
        return sieve.delete(client, keys, name, wanted.waiting)
    # Before the key is dropped, whatever it is.
    left = total = int(client.llen(name))
    if (unlinked := _unlink(client, "LLEN", name)) is not None:
        return unlinked
    while left > 0:
        client.ltrim(name, 0, -1 - min(left, PORTION))
        left -= PORTION
    return total


def _delete_delayed(client: Any, keys: Keys, queue: str, wanted: _Wanted) -> int:
    if not wanted.is_all:
        return delayed.drop_matching(client, keys, wanted.delayed, queue)
    total = 0
    for _, name in _lists(keys, queue):
        key = keys.delayed_of(name)
        client.zcard(key)
        if (unlinked := _unlink(client, "ZCARD", key)) is None:
            return total + delayed.drop_matching(client, keys, lambda _: True, queue)
        total += unlinked
    return total


def _unlink(client: Any, length: str, key: str) -> int | None:
    """Drop *key*; return its *length*, by that command. None if the user may not."""
    try:
        with client.pipeline(transaction=True) as pipe:
            # Redis frees it beside its other work.
            pipe.execute_command(length, key)
            return int(pipe.unlink(key).execute()[0])
    except ResponseError as error:
        if not is_refusal(error):
            raise
    return None


def _refusal(queue: str, error: ResponseError) -> Exception:
    if "WRONGTYPE" in str(error):
        return RefusedError(f"{queue!r} is no queue: a key of its name is no list ({error}).")
    return error
