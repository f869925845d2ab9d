"""What a process sends and waits for that uses Celery's canvas."""

from typing import Any

from celery import chain as chain_of
from celery import chord as chord_of
from celery import group as group_of

#: A canvas that does not end is a mistake; in seconds.
PATIENCE = 600


def chord(module: Any, count: int) -> None:
    """Send a chord of *count* tasks, and wait for its end."""
    header = [module.kept.s(number) for number in range(count)]
    answer = chord_of(header)(module.collect.s()).get(timeout=PATIENCE)
    assert count == answer, f"{answer} results of {count}"


def chain(module: Any, count: int) -> None:
    """Send a chain of *count* links, and wait for its end."""
    links = [module.link.s(0), *(module.link.s() for _ in range(count - 1))]
    answer = chain_of(*links)().get(timeout=PATIENCE)
    assert count == answer, f"{answer} links of {count}"


def group(module: Any, count: int) -> None:
    """Send a group of *count* tasks, and join its results."""
    answers = group_of(module.kept.s(number) for number in range(count))().get(timeout=PATIENCE)
    assert list(range(count)) == answers, f"{len(answers)} results of {count}"
