"""
Queues, workers and failed tasks in the project's own Django admin.

In the settings::

    INSTALLED_APPS += ["task_server.contrib.admin"]

They are in every site that `autodiscover` fills; a project with an `AdminSite` of its own
beside that one calls `register(site)`. Nothing is kept in the project's database but the
permissions, and Django's own log of who changed what.
"""

from typing import Any

__all__ = ["register"]


def register(site: Any) -> None:
    """Add the three pages to *site*, an `AdminSite`; those that it has stay as they are."""
    from task_server.contrib.admin.registry import ADMINS  # noqa: PLC0415 - needs Django's apps

    for model, admin in ADMINS.items():
        if not site.is_registered(model):
            site.register(model, admin)
