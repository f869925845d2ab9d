"""
Models without tables: the admin takes its pages, permissions and log entries from them.

Everything that they show is read from Redis. A query finds nothing, and asks no database:
so `dumpdata`, and whatever else walks through all models, goes on.
"""

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

#: Who may see, and who may change; nothing is added, and what is deleted is a change.
PERMISSIONS = ("view", "change")


class NoRows(models.Manager[Any]):
    """Finds nothing, since there is no table."""

    def get_queryset(self) -> models.QuerySet[Any]:
        """Return an empty query, which stays one."""
        return super().get_queryset().none()


class Named(models.Model):
    """One thing in Redis, by the name that it has there."""

    name = models.CharField(_("name"), max_length=1000, primary_key=True)

    objects = NoRows()

    class Meta:
        abstract = True
        managed = False
        base_manager_name = "objects"
        default_permissions = PERMISSIONS

    def __str__(self) -> str:
        return self.name


class Queue(Named):
    """A queue, by its name."""

    class Meta(Named.Meta):
        verbose_name = _("queue")
        verbose_name_plural = _("queues")


class Worker(Named):
    """A worker, by its node name."""

    class Meta(Named.Meta):
        verbose_name = _("worker")
        verbose_name_plural = _("workers")


class FailedTask(Named):
    """A task that failed for good, by the name of its record."""

    class Meta(Named.Meta):
        verbose_name = _("failed task")
        verbose_name_plural = _("failed tasks")
