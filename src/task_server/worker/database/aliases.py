"""The aliases of DATABASES that are PostgreSQL; reads the settings and connects to nothing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

#: The worker's setting that limits its connections to PostgreSQL.
SETTING = "database_connections"


def postgresql() -> "dict[str, BaseDatabaseWrapper]":
    """Return Django's PostgreSQL connections by alias, each unopened."""
    try:
        from django.conf import settings  # noqa: PLC0415 the project may not use Django
        from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415
        from django.db import connections  # noqa: PLC0415
    except ImportError:
        return {}
    if not settings.configured:
        try:
            settings.DATABASES  # noqa: B018 loads the settings, if there are any
        except ImproperlyConfigured:
            return {}
    found = {}
    for alias in connections:
        try:
            wrapper = connections[alias]
        except ImproperlyConfigured:
            continue  # a missing driver: Django reports it when the alias is used
        if wrapper.vendor == "postgresql" or _is_derived(wrapper):
            found[alias] = wrapper
    return found


def _is_derived(wrapper: "BaseDatabaseWrapper") -> bool:
    """Whether the engine is a subclass of Django's own for PostgreSQL."""
    return any(
        kind.__module__ == "django.db.backends.postgresql.base" for kind in type(wrapper).__mro__
    )


def pool_options(wrapper: "BaseDatabaseWrapper") -> Mapping[str, Any]:
    """Return the options of Django's own pool for this alias; none if it has defaults or none."""
    options = wrapper.settings_dict["OPTIONS"].get("pool")
    return options if isinstance(options, Mapping) else {}


def pool_size(wrapper: "BaseDatabaseWrapper") -> int:
    """Return the maximum size of Django's own pool for this alias; 0 without a pool."""
    if not wrapper.settings_dict["OPTIONS"].get("pool"):
        return 0
    options = pool_options(wrapper)
    # psycopg_pool's defaults: min_size is 4, and max_size is min_size.
    minimum = int(options.get("min_size", 4))
    maximum = options.get("max_size")
    return minimum if maximum is None else int(maximum)
