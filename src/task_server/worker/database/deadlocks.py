"""
Which greenlet waits for which: read from the stacks of those that do not run.

A re-entrant lock names its owner, so that a greenlet whose stack is in the
`acquire` of one waits for that owner, for certain. A plain lock or semaphore
names no owner: that the owner is among those that wait is only likely.
"""

import gc
import logging
import traceback
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Literal

from gevent.lock import Semaphore

#: Frames of one stack that are read, from the innermost on.
DEPTH = 60
#: Stacks in one report: so many of holders, and as many of waiters.
STACKS = 3
#: Frames of one stack in a report.
FRAMES = 8
#: Parts of the names of files that are not a task's own code.
PLUMBING = (
    *("/gevent/", "/django/", "/psycopg", "/task_server/worker/", "/logging/", "/threading.py"),
    *("/celery/", "/contextlib.py", "/concurrent/", "/asgiref/"),
)

#: What a greenlet waits for: a slot, a lock with an owner, a lock without one,
#: something that leaves no frame (a semaphore, an event), anything else.
Kind = Literal["slot", "owned", "lock", "unseen", "other"]


@dataclass(frozen=True, slots=True)
class Wait:
    """What one greenlet waits for; *owner* is the id of a greenlet."""

    kind: Kind
    lock: Any = None
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class WaitGraph:
    """
    What the greenlets that hold connections wait for; *waiting* wait for a connection.

    Attributes:
        lock_owners: Greenlets that wait for a connection and own a lock that a
            holder waits for.

        is_deadlock: Each holder waits, through locks with an owner, for a
            greenlet that waits for a connection.

        is_likely_deadlock: Each holder waits for a lock, with or without an owner.

        needs_search: Each holder may wait for a lock; only a search through all
            objects can find out.
    """

    lock_owners: frozenset[int]
    is_deadlock: bool
    is_likely_deadlock: bool
    needs_search: bool
    holders: Mapping[int, Any] = field(default_factory=dict)
    waiting: AbstractSet[int] = frozenset()
    waits: Mapping[int, Wait] = field(default_factory=dict)
    greenlet_of: Callable[[int], Any] = lambda _: None

    def explain(self, waiter: int) -> str:
        """Return why *waiter* waits forever: its lock, and where others wait for that."""
        wanted = [(holder, wait) for holder, wait in self.waits.items() if wait.owner == waiter]
        if not wanted:
            return f"this one waits for a connection, like {len(self.waiting)} in all"
        lock = describe(wanted[0][1].lock)
        locations = sorted({location(stack_of(self.holders.get(holder))) for holder, _ in wanted})
        shown = ", ".join(locations[:STACKS])
        return f"this one owns it: {lock}, which {len(wanted)} of them want (at {shown})"

    def prioritize_holders(self) -> None:
        """
        Let a holder of a connection be the next to get each lock; no lock promises an order.

        A semaphore of gevent has its waiters in a list, the next one first.
        """
        for wait in self.waits.values():
            semaphore = getattr(wait.lock, "_block", wait.lock)
            if isinstance(semaphore, Semaphore) and semaphore.linkcount() > 1:
                for links in gc.get_referents(semaphore):
                    if isinstance(links, list):
                        links.sort(key=lambda link: _greenlet_id(link) not in self.holders)

    def stacks(self) -> str:
        """Return some stacks of greenlets that hold a connection, and of some that wait for one."""
        lines = []
        waiting = sorted(self.waiting, key=lambda waiter: waiter not in self.lock_owners)
        for title, ids in (("holds a connection", self.holders), ("waits for one", waiting)):
            for holder in list(ids)[:STACKS]:
                stack = stack_of(self.greenlet_of(holder))
                if stack:
                    lines.append(f"{title}, at:")
                    lines.append(_formatted(stack))
        return "\n".join(lines)


def wait_graph(
    holders: Mapping[int, Any],
    waiting: AbstractSet[int],
    greenlet_of: Callable[[int], Any],
    *,
    search: bool = False,
) -> WaitGraph:
    """
    Return what *holders* (greenlets, None where unknown) wait for, by their ids.

    Args:
        waiting: The greenlets that wait for a slot.

        greenlet_of: Returns a greenlet by its id, None where unknown.

        search: Find also semaphores that leave no frame, among all objects.
    """
    semaphores = _semaphore_waits() if search else None
    waits: dict[int, Wait] = {}
    for holder, greenlet in holders.items():
        waits[holder] = Wait("slot") if holder in waiting else _wait_of(greenlet)
        if waits[holder].kind == "unseen" and semaphores is not None:
            is_found = holder in semaphores
            waits[holder] = Wait("lock", semaphores[holder]) if is_found else Wait("other")
    owners = {wait.owner for wait in waits.values() if wait.owner in waiting}
    kinds = {wait.kind for wait in waits.values()}
    leads = [_leads_to_slot(holder, waits, waiting, greenlet_of) for holder in holders]
    return WaitGraph(
        lock_owners=frozenset(owner for owner in owners if owner is not None),
        is_deadlock=bool(waits) and all(leads),
        is_likely_deadlock=bool(waits) and kinds <= {"slot", "owned", "lock"},
        needs_search="unseen" in kinds and "other" not in kinds,
        holders=holders,
        waiting=waiting,
        waits=waits,
        greenlet_of=greenlet_of,
    )


def stack_of(greenlet: Any) -> list[FrameType]:
    """Return the frames of *greenlet*, which does not run; the innermost first."""
    found: list[FrameType] = []
    frame = getattr(greenlet, "gr_frame", None)
    while frame is not None and len(found) < DEPTH:
        found.append(frame)
        frame = frame.f_back
    return found


def location(stack: list[FrameType]) -> str:
    """Return file, line and function of the task's own code."""
    for frame in stack:
        if not any(part in frame.f_code.co_filename for part in PLUMBING):
            break
    else:
        if not stack:
            return "an unknown place"
        frame = stack[0]
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"


def describe(lock: Any) -> str:
    """Return what *lock* is: the handler of the log it belongs to, or its kind."""
    for handler in log_handlers():
        if handler.lock is lock:
            return f"the lock of the log's handler {handler!r}"
    return f"a lock ({type(lock).__module__}.{type(lock).__qualname__} at {id(lock):#x})"


def log_handlers() -> set[logging.Handler]:
    """Return the handlers of all loggers."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    return {handler for logger in loggers for handler in getattr(logger, "handlers", ())}


def _wait_of(greenlet: Any) -> Wait:
    stack = stack_of(greenlet)[:6]
    if not stack:
        return Wait("other")
    for frame in stack[:4]:
        lock = frame.f_locals.get("self") if frame.f_code.co_name == "acquire" else None
        if hasattr(lock, "_owner") and hasattr(lock, "_block"):
            owner = lock._owner  # type: ignore[union-attr]  # noqa: SLF001 both kinds of RLock have it
            if owner is not None:
                return Wait("owned", lock, owner if isinstance(owner, int) else id(owner))
    names = [(frame.f_code.co_filename, frame.f_code.co_name) for frame in stack]
    if names[0][0].endswith("/gevent/thread.py"):
        # A condition has a lock for each waiter, and an Event, a Queue and a
        # Future have a condition: those are no locks of the application.
        inside = [name for file, name in names[1:] if file.endswith("/threading.py")]
        if not inside or inside[:2] == ["wait", "acquire"]:
            return Wait("lock", stack[0].f_locals.get("self"))
        return Wait("other")
    return Wait("other" if "/gevent/" in names[0][0] else "unseen")


def _leads_to_slot(
    holder: int,
    waits: Mapping[int, Wait],
    waiting: AbstractSet[int],
    greenlet_of: Callable[[int], Any],
) -> bool:
    """Whether *holder* waits, through any number of owned locks, for a waiter for a slot."""
    seen: set[int] = set()
    current = holder
    while current not in waiting:
        if current in seen:
            return False  # locks of the application that wait for each other
        seen.add(current)
        wait = waits.get(current) or _wait_of(greenlet_of(current))
        if wait.owner is None:
            return False
        current = wait.owner
    return True


def _semaphore_waits() -> dict[int, Any]:
    """Return the semaphore on which each greenlet waits, by the greenlet's id; slow."""
    found: dict[int, Any] = {}
    for candidate in gc.get_objects():
        if isinstance(candidate, Semaphore) and candidate.linkcount():
            for links in gc.get_referents(candidate):
                if isinstance(links, list):
                    found.update((_greenlet_id(link), candidate) for link in links)
    return found


def _greenlet_id(link: Any) -> int:
    """Return the id of the greenlet that *link*, its `switch`, wakes."""
    return id(getattr(link, "__self__", link))


def _formatted(stack: list[FrameType]) -> str:
    summary = traceback.StackSummary.extract(
        ((frame, frame.f_lineno) for frame in stack[:FRAMES]), lookup_lines=True
    )
    return "".join(reversed(summary.format())).rstrip()
