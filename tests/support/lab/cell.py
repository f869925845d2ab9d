"""One fault, and what became of each lane."""

import time
from collections.abc import Callable, Sequence
from threading import Event

from tests.support.lab.lanes import Kind, Lane
from tests.support.lab.load import Load
from tests.support.lab.table import Cell, Table
from tests.support.messages import dead_letters, left
from tests.support.wait import holds_within, until

#: Seconds in which a worker with our transport must take new messages again,
#: and after that have run all.
LIMIT = 120.0

#: The same for the others, which need not recover.
PATIENCE = 8.0

Fault = Callable[[Sequence[Lane], Load], float | None]


def ride(name: str, lanes: Sequence[Lane], fault: Fault, table: Table, load: Load) -> None:
    """
    Let *fault* happen to *lanes* under *load*, note what becomes of them, and judge ours.

    *fault* returns when it is over; what it returns is the time from which the
    seconds to resume are counted, unset that is then.
    """
    load.start()
    try:
        until(
            lambda: all(len(lane.marks.ended()) > 20 for lane in lanes), "messages before the fault"
        )
        since = fault(lanes, load) or time.monotonic()
        fresh = load.number
        _await(lanes, lambda lane: resumed(lane, fresh) is not None)
    finally:
        load.end()
    _await(lanes, lambda lane: lane.broker.is_empty())
    for lane in lanes:
        table.add(name, lane.kind, outcome(lane, _resumes(lane, fresh, since)))
    for lane in lanes:
        judge(lane.kind, table.cell(name, lane.kind))


def resumed(lane: Lane, fresh: int) -> float | None:
    """Return when the first message from number *fresh* on was run."""
    times = [when for number, when in lane.marks.ended() if number >= fresh]
    return min(times, default=None)


def _resumes(lane: Lane, fresh: int, since: float) -> str:
    when = resumed(lane, fresh)
    if when is None:
        return f"> {time.monotonic() - since:.0f} s"
    return f"{max(0.0, when - since):.1f} s"


def outcome(lane: Lane, resumes: str = "") -> Cell:
    """Return what became of *lane*."""
    lost = missing(lane)
    if lost:
        # A message that Kombu's transport has just taken is nowhere for a moment.
        Event().wait(1)
        lost &= missing(lane)
    runs = lane.marks.ends()
    alive = "yes" if lane.alive() else "no"
    return Cell(
        sent=len(lane.sent),
        lost=len(lost),
        left=len(left(lane.broker)),
        dead=len(dead_letters(lane.broker) - set(runs)),
        extra=sum(runs.values()) - len(runs),
        resumes=resumes,
        alive=f"{alive}, {lane.restarts} x new" if lane.restarts else alive,
    )


def missing(lane: Lane) -> set[int]:
    """Return the messages that are neither in Redis nor run; these are asked for last."""
    rest = left(lane.broker) | dead_letters(lane.broker)
    return lane.sent - rest - set(lane.marks.ends())


def judge(kind: Kind, cell: Cell) -> None:
    """With our transport and late acks nothing is lost, and the worker recovers on its own."""
    if kind.transport == "atomic" and kind.acks == "late":
        assert (0, 0, 0) == (cell.lost, cell.left, cell.dead), f"{kind}: {cell}"
        assert cell.alive.startswith("yes"), f"{kind}: {cell}"
        assert not cell.resumes.startswith(">"), f"{kind}: {cell}"


def _await(lanes: Sequence[Lane], fact: Callable[[Lane], bool]) -> None:
    """Wait for *fact* of our lanes, and for a while of those of the others that live."""
    ours = [lane for lane in lanes if lane.kind.transport == "atomic"]
    others = [lane for lane in lanes if lane not in ours]
    since = time.monotonic()
    holds_within(lambda: all(fact(lane) or not lane.alive() for lane in ours), LIMIT)
    patience = PATIENCE - (time.monotonic() - since)
    holds_within(lambda: all(fact(lane) or not lane.alive() for lane in others), max(1.0, patience))
