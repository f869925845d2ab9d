"""A table, so that there is something to migrate."""

from django.db import models


class Errand(models.Model):
    """Of no use but to be there."""

    def __str__(self) -> str:
        return f"errand {self.pk}"
