"""A clock that is set back while beat runs, which would stop it for as long."""

from datetime import timedelta
from typing import Any

from celery.schedules import schedule as interval

from task_server.beat.runs import set_last_run

#: Seconds by which a clock is corrected without notice.
NOTICED = 2.0


def set_back(before: float, after: float) -> float:
    """
    Return by how many seconds the clock was set back; 0 if it was not.

    Args:
        before, after: The time less the monotonic time, twice.
    """
    return before - after if before - after > NOTICED else 0.0


def shift_intervals(scheduler: Any, seconds: float) -> None:
    """
    Move the last runs of intervals back by *seconds*, so that each goes on as it was.

    A crontab waits until the clock passes its last run again: its times have been.
    """
    for entry in list(scheduler.schedule.values()):
        if isinstance(entry.schedule, interval) and entry.last_run_at is not None:
            set_last_run(scheduler, entry, entry.last_run_at - timedelta(seconds=seconds))
    # The scheduler orders its entries anew.
    scheduler._heap = None  # noqa: SLF001
