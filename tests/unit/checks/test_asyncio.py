"""asyncio under gevent: what a project may do, and what it should know."""

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from task_server.checks.inspect import _kept_loops
from task_server.checks.rules.asyncio import event_loops
from tests.unit.checks.cases import GEVENT, PREFORK, Row, context, own, says_one_line

ROWS: list[Row] = [
    (
        "loops that are shared",
        event_loops,
        context(own(), workers={"gevent": {"asyncio": "shared"}}),
        "warning",
        "workers.gevent.asyncio",
        "no other task can start one",
    ),
    (
        "a loop that a module keeps",
        event_loops,
        context(replace(own(), loops=("cl.audio.LOOP",)), workers=GEVENT),
        "info",
        "asyncio",
        "cl.audio.LOOP is one event loop for all tasks",
    ),
    (
        "another library's loops",
        event_loops,
        context(replace(own(), loop_maker="uvloop"), workers=GEVENT),
        "error",
        "asyncio",
        "uvloop makes the event loops; they wait outside gevent",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_rule_says_one_line(row: Row) -> None:
    """
    What does not work under gevent is said, once.
    """
    says_one_line(*row[1:])


def test_prefork_may_do_what_it_likes() -> None:
    """
    There each task has a thread of the system of its own.
    """
    facts = replace(own(), loops=("cl.audio.LOOP",), loop_maker="uvloop")

    assert [] == list(event_loops(context(facts, workers=PREFORK)))


@pytest.fixture
def module() -> Iterator[ModuleType]:
    """A module of a project, with a loop."""
    made = ModuleType("loopy.tasks")
    made.LOOP = asyncio.new_event_loop()  # type: ignore[attr-defined]
    sys.modules["loopy.tasks"] = made
    yield made
    del sys.modules["loopy.tasks"]
    made.LOOP.close()


def test_loops_of_the_projects_modules_are_found(module: ModuleType) -> None:
    """
    Those of the packages that tasks are from, and of no other.
    """
    task: Any = type("Task", (), {"__module__": "loopy.other"})()
    other: Any = type("Task", (), {"__module__": "celery.app"})()

    assert (("loopy.tasks.LOOP",), "") == _kept_loops([task])
    assert ((), "") == _kept_loops([other])
