"""The runs of a schedule that were due while no beat ran."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from celery.schedules import schedule as interval
from celery.utils.time import maybe_make_aware

#: Runs of one entry that are counted.
MOST = 1000

#: Seconds for counting all; a crontab is counted run by run.
COUNTING = 2.0


@dataclass(frozen=True, slots=True)
class Missed:
    """
    An entry that was due.

    Attributes:
        count: How many times, or at least as many if *more*.

        since: When first.

        is_due: Whether the scheduler sends it now, once, whatever the count.
    """

    name: str
    count: int
    more: bool
    since: datetime
    is_due: bool

    def __str__(self) -> str:
        times = "once" if self.count == 1 and not self.more else f"{self.count} times"
        many = f"at least {times}" if self.more else times
        what = "it is sent once, now" if self.is_due else "it is not sent before it is due again"
        since = self.since.astimezone().isoformat(timespec="seconds")
        return f"{self.name!r} was due {many} while no beat ran, first at {since}: {what}"


def missed_runs(entries: Iterable[Any]) -> Iterator[Missed]:
    """Return the *entries* of a schedule that were due before now."""
    deadline = time.monotonic() + COUNTING
    for entry in entries:
        try:
            found = _missed(entry, deadline)
        except Exception:  # noqa: BLE001, S112 - a schedule of the project's own; it runs all the same
            continue
        if found is not None:
            yield found


def _missed(entry: Any, deadline: float) -> Missed | None:
    # A row of a database that has never run has a made-up time.
    if entry.last_run_at is None or (hasattr(entry, "model") and not entry.total_run_count):
        return None
    last = maybe_make_aware(entry.last_run_at)
    now = maybe_make_aware(entry.schedule.now())
    first = _next(entry.schedule, last, now)
    if first is None:
        return None
    if isinstance(entry.schedule, interval):
        every: timedelta = vars(entry.schedule)["run_every"]
        count, more = max(1, int((now - last) / every)), False
    else:
        count, more = _count(entry.schedule, first, now, deadline)
    return Missed(entry.name, count, more, first, bool(entry.is_due()[0]))


def _next(schedule: Any, last: datetime, now: datetime) -> datetime | None:
    """Return when *schedule* was due after *last*; None if not until *now*."""
    left = schedule.remaining_estimate(last)
    if left is None:
        return None
    due = maybe_make_aware(schedule.now()) + left
    return due if last < due <= now else None


def _count(schedule: Any, first: datetime, now: datetime, deadline: float) -> tuple[int, bool]:
    count, due = 1, first
    while count < MOST and time.monotonic() < deadline:
        # No schedule but an interval is finer than a minute; two clocks differ by less.
        following = _next(schedule, due + timedelta(seconds=1), now)
        if following is None or following <= due:
            return count, False
        count, due = count + 1, following
    return count, True
