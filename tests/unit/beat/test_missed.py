"""How often an entry was due while no beat ran, and that a clock may be set back."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab, schedule

from task_server.beat.clock import set_back, shift_intervals
from task_server.beat.missed import missed_runs
from task_server.beat.runs import apply_runs


def entry(when: Any, ago: float, **more: Any) -> ScheduleEntry:
    """Return an entry that was last sent *ago* seconds ago."""
    app = Celery("unit", set_as_current=False)
    last = datetime.now(UTC) - timedelta(seconds=ago)
    return ScheduleEntry(
        **{"name": "e", "task": "t", "schedule": when, "last_run_at": last, "app": app, **more}
    )


@pytest.mark.parametrize(
    ("when", "ago", "counts"),
    [
        (60.0, 30, set()),
        (60.0, 61, {1}),
        (60.0, 605, {10}),
        (timedelta(hours=1), 86_400 + 5, {24}),
        # A minute may begin meanwhile.
        (crontab(), 600, {9, 10, 11}),
        (crontab(minute="0"), 7200, {2}),
        (crontab(minute="0", hour="0"), 2 * 86_400, {2}),
    ],
)
def test_each_time_that_was_due_is_counted(when: Any, ago: float, counts: set[int]) -> None:
    """
    By arithmetic for an interval, one by one for a crontab; none that is not due yet.
    """
    found = [one.count for one in missed_runs([entry(when, ago)])]

    assert set(found) <= counts
    assert bool(counts) == bool(found)


def test_what_becomes_of_it_is_celerys_decision() -> None:
    """
    Once, at once; or not at all where the project's deadline has passed.
    """
    late = entry(crontab(minute="0"), 7200)
    (sent,) = missed_runs([late])
    late.schedule.app.conf.beat_cron_starting_deadline = 1
    left = list(missed_runs([late]))

    assert "it is sent once, now" in str(sent)
    assert all(not one.is_due or "sent once" in str(one) for one in left)


def test_a_schedule_that_raises_is_left_out_of_the_report() -> None:
    """
    It is the project's own code; the others are reported.
    """
    broken = SimpleNamespace(name="b", last_run_at=datetime.now(UTC), schedule=None)

    assert ["e"] == [one.name for one in missed_runs([broken, entry(60.0, 90)])]


def test_a_clock_that_is_set_back_moves_intervals_alone() -> None:
    """
    So that an interval goes on; a crontab's times have been.
    """
    a, b = entry(60.0, 5), entry(crontab(), 5)
    before = a.last_run_at, b.last_run_at
    scheduler = SimpleNamespace(schedule={"a": a, "b": b}, _heap=[1])

    assert (0.0, 0.0, 3600.0) == (set_back(5, 4), set_back(5, 5000), set_back(5000, 1400))
    shift_intervals(scheduler, 3600)

    assert timedelta(hours=1) == before[0] - a.last_run_at
    assert before[1] == b.last_run_at
    assert scheduler._heap is None


@pytest.mark.parametrize("naive", [False, True])
def test_a_run_that_another_recorded_counts_if_it_is_later(*, naive: bool) -> None:
    """
    Or if the entry is new here; times without a zone are UTC, and none lies in the future.
    """
    now = datetime.now(UTC)

    def at(ago: float, count: int) -> ScheduleEntry:
        one = entry(schedule(60), ago, total_run_count=count)
        one.last_run_at = one.last_run_at.replace(tzinfo=None) if naive else one.last_run_at
        return one

    entries = {"later": at(90, 1), "earlier": at(10, 1), "new": at(0, 0), "future": at(9, 1)}
    runs = {name: now.timestamp() - 30 for name in entries} | {"future": now.timestamp() + 900}

    apply_runs(SimpleNamespace(schedule=entries), runs)

    ages = {
        name: round((now - one.last_run_at.replace(tzinfo=UTC)).total_seconds())
        for name, one in entries.items()
    }
    assert {"later": 30, "earlier": 10, "new": 30, "future": 0} == ages
