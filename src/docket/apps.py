"""The Django app."""

from django.apps import AppConfig


class DocketConfig(AppConfig):
    """Court documents, fetched, read and searched."""

    name = "docket"
    default_auto_field = "django.db.models.BigAutoField"
