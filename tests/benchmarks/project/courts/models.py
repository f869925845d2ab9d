"""One table, of which a task reads one row."""

from django.db import models


class Court(models.Model):
    """A court."""

    name = models.TextField()

    def __str__(self) -> str:
        return self.name
