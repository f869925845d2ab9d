"""What beat would run with, for `task-server config show beat`."""

import os
from collections.abc import Iterator
from typing import Any

from task_server.config.loader import Resolved
from task_server.launch.beat_spec import beat_spec_here
from task_server.project.schedule import CELERYS, schedule_file, scheduler_of


def beat_rows(found: Resolved, app: Any) -> Iterator[dict[str, Any]]:
    """Return a row for each of Celery's settings of the beat of *app*, which is imported."""
    spec, _ = beat_spec_here(found.config, os.environ)
    theirs = "the project's own settings"
    scheduler = scheduler_of(app, spec.scheduler)
    given = found.origins.get("beat.scheduler")
    its_own = theirs if app.conf.beat_scheduler == scheduler else "django-celery-beat is installed"
    yield _row(
        "beat_scheduler", scheduler or CELERYS, given or (its_own if scheduler else "Celery")
    )
    interval = spec.max_interval or app.conf.beat_max_loop_interval
    given = found.origins.get("beat.max_interval")
    yield _row(
        "beat_max_loop_interval",
        interval or "the scheduler's own",
        given or (theirs if interval else "default"),
    )
    file = schedule_file(app, spec)
    is_theirs = str(file) == str(app.conf.beat_schedule_filename)
    yield _row("beat_schedule_filename", str(file), theirs if is_theirs else "beat.folder")
    app.finalize()
    yield _row("beat_schedule", sorted(map(str, app.conf.beat_schedule)), theirs)


def _row(name: str, value: Any, origin: str) -> dict[str, Any]:
    return {"setting": name, "value": value, "from": origin}
