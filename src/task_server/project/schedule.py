"""Whether a project has periodic tasks, and which scheduler sends them."""

import sys
from pathlib import Path
from typing import Any

from task_server.launch.beat_spec import BeatSpec
from task_server.project.celery_app import is_set

#: That of django-celery-beat, and the app of Django that it is.
DATABASE_APP = "django_celery_beat"
DATABASE_SCHEDULER = f"{DATABASE_APP}.schedulers:DatabaseScheduler"

#: Celery's own, whose schedule is the setting `beat_schedule`.
CELERYS = "celery.beat:PersistentScheduler"


def scheduler_of(app: Any, given: str | None = None) -> str | None:
    """Return the name of the scheduler of *app*, or *given*; None is Celery's own."""
    if given:
        return given
    if is_set(app, "beat_scheduler"):
        return str(app.conf.beat_scheduler)
    return DATABASE_SCHEDULER if _has_database_app() else None


def has_schedule(app: Any) -> bool:
    """
    Return whether *app*, which is imported, has periodic tasks: in its settings, or elsewhere.

    What receivers of the app's signals add with `add_periodic_task` counts, and a
    scheduler that has a place of its own for them, such as a database.
    """
    app.finalize()
    return bool(app.conf.beat_schedule) or scheduler_of(app) not in (None, CELERYS)


def _has_database_app() -> bool:
    # Only what the project itself has loaded: a project without Django has no such app.
    django = sys.modules.get("django.conf")
    if django is None or not django.settings.configured:
        return False
    return any(str(one).partition(".")[0] == DATABASE_APP for one in django.settings.INSTALLED_APPS)


def schedule_file(app: Any, spec: BeatSpec) -> Path:
    """Return the schedule file of *app*: its own if that is absolute, else one in our folder."""
    named = Path(str(app.conf.beat_schedule_filename or "celerybeat-schedule"))
    if named.is_absolute() and not spec.folder_is_given:
        return named
    # Two projects of one user may share the folder.
    return Path(spec.folder, f"{named.name}.{spec.lock_name}")
