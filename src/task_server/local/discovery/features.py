"""What a project has that a service exists for, by the names that services.toml knows."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

#: A word of the scheduler that django-celery-beat brings; its schedule is in the database.
_IN_DATABASE = "django_celery_beat"


def has_schedule(app: Any) -> bool:
    """
    Return whether *app*, which is imported, has periodic tasks: in its settings, or in a database.

    What receivers of the app's signals add with `add_periodic_task` counts.
    """
    app.finalize()
    return bool(app.conf.beat_schedule) or _IN_DATABASE in str(app.conf.beat_scheduler)


#: What asks an app, by name.
FEATURES: Mapping[str, Callable[[Any], bool]] = MappingProxyType({"schedule": has_schedule})


def features_of(app: Any) -> tuple[str, ...]:
    """Return the names of what *app* has."""
    return tuple(name for name, has in FEATURES.items() if has(app))
