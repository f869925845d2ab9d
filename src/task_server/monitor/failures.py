"""
Failed tasks and dead letters, as one: read only; `actions.failed` retries and drops them.

A failed task ran to its end, and its retries, if it has any, are used up. A dead letter
crashed its workers, or no code registers its task. No call reads more than some records.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from task_server.monitor.failure import EVERY, Failure, Filter, of_letter, of_task
from task_server.transport.store import dead_letters, failed_tasks
from task_server.transport.store.keys import Keys


@dataclass(frozen=True, slots=True)
class Page:
    """
    Some failures, the newest first.

    Attributes:
        after: What gives the next page; '' after the last.
    """

    failures: tuple[Failure, ...]
    after: str


@dataclass(frozen=True, slots=True)
class Count:
    """How many failures one task has with one error, and when the last was."""

    task: str
    error: str
    number: int
    last: float


def number(client: Any, keys: Keys) -> int:
    """Return how many failed tasks are kept, dead letters not counted; one short call."""
    return failed_tasks.count(client, keys)


def page(
    client: Any, keys: Keys, chosen: Filter = EVERY, after: str = "", limit: int = 100
) -> Page:
    """
    Return *limit* of the failures that are *chosen*, the newest first.

    Args:
        client: A Redis client that adds no prefix, here and below.

        after: That of the page before.

    Raises:
        RedisError: When Redis does not answer, or refuses; so do those below.
    """
    found = tuple(islice(matching(client, keys, chosen, after), limit + 1))
    if len(found) <= limit:
        return Page(found, "")
    last = found[limit - 1]
    return Page(found[:limit], json.dumps([last.at, last.key]))


def one(client: Any, keys: Keys, name: str, *, crashed: bool = False) -> Failure | None:
    """Return the failure whose key is *name*, or the last of the task with that id."""
    found = named(client, keys, [name], crashed=crashed)
    return next((each for each in found if each.key == name), found[-1] if found else None)


def named(
    client: Any, keys: Keys, wanted: Iterable[str], *, crashed: bool = False
) -> list[Failure]:
    """
    Return the failures of the tasks with the ids *wanted*, or with those keys, the oldest first.

    Args:
        crashed: Only dead letters.
    """
    names = set(wanted)
    found = [
        of_letter(letter)
        for letter in dead_letters.all_of(client, keys.dead_letters)
        if letter.id in names or letter.tag in names
    ]
    if not crashed:
        ids = {name[: failed_tasks.LONGEST] for name in names}
        at = {
            key: seconds
            for key, seconds in failed_tasks.names(client, keys)
            if key in names or ids & {key.partition(" ")[0], key.rpartition(" ")[0]}
        }
        tasks = failed_tasks.read(client, keys, list(at))
        found += [of_task(task, at[task.name]) for task in tasks]
    return sorted(found, key=lambda each: each.at)


def counts(client: Any, keys: Keys, chosen: Filter = EVERY, most: int = 10_000) -> list[Count]:
    """Count the last *most* failures that are *chosen*, by task and error; the most first."""
    numbers: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], float] = {}
    for failure in islice(matching(client, keys, chosen), most):
        group = failure.task, failure.error
        numbers[group] += 1
        last.setdefault(group, failure.at)
    return [Count(*group, many, last[group]) for group, many in numbers.most_common()]


def matching(client: Any, keys: Keys, chosen: Filter = EVERY, after: str = "") -> Iterator[Failure]:
    """Yield the failures that are *chosen*, the newest first, behind the page that gave *after*."""
    start = _position(after)
    letters = map(of_letter, dead_letters.all_of(client, keys.dead_letters))
    every: list[tuple[float, str, Failure | None]] = [(each.at, each.key, each) for each in letters]
    if not chosen.crashed:
        every += [(at, key, None) for key, at in failed_tasks.names(client, keys)]
    wanted = [
        each
        for each in sorted(every, key=lambda each: each[:2], reverse=True)
        if chosen.is_in_time(each[0]) and (start is None or each[:2] < start)
    ]
    for first in range(0, len(wanted), failed_tasks.PORTION):
        portion = wanted[first : first + failed_tasks.PORTION]
        absent = [key for _, key, failure in portion if failure is None]
        tasks = {task.name: task for task in failed_tasks.read(client, keys, absent)}
        for at, key, failure in portion:
            task = tasks.get(key)
            found = of_task(task, at) if task is not None and failure is None else failure
            if found is not None and chosen.matches(found):
                yield found


def _position(after: str) -> tuple[float, str] | None:
    """Return the time and the key that *after* says; None if it says none."""
    try:
        match json.loads(after):
            case [int() | float() as at, str() as key]:
                return float(at), key
    except (ValueError, RecursionError, OverflowError):
        pass
    return None
