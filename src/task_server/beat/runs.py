"""The runs that other beats recorded, given to a scheduler."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def apply_runs(scheduler: Any, runs: Mapping[str, float]) -> None:
    """
    Let the entries of *scheduler* know that they were last sent as *runs* says.

    A run that is later than what the scheduler knows counts, and any that it has none of:
    in a new container there is no file. Times are seconds since 1970.
    """
    now = datetime.now(UTC).timestamp()
    for name, entry in list(scheduler.schedule.items()):
        at = runs.get(name)
        if at is None or entry.last_run_at is None:
            continue
        last = _with_zone(entry.last_run_at)
        # What was recorded before a clock was set back would stop the entry for as long.
        recorded = datetime.fromtimestamp(min(at, now), last.tzinfo)
        if recorded > last or not entry.total_run_count:
            set_last_run(scheduler, entry, recorded)


def set_last_run(scheduler: Any, entry: Any, at: datetime) -> None:
    """Set when *entry* was last sent, with a zone or without as it has it."""
    value = at if entry.last_run_at.tzinfo else at.astimezone(UTC).replace(tzinfo=None)
    entry.last_run_at = value
    model = getattr(entry, "model", None)
    if model is not None:
        model.last_run_at = value
        # django-celery-beat's own list of what it must save.
        getattr(scheduler, "_dirty", set()).add(entry.name)


def _with_zone(moment: datetime) -> datetime:
    # Celery takes a time without a zone for UTC.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
